"""Whatever a client sends as its command line: it hears a sentence and gets one of the documented exit codes."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from gitreceive import receive
from gitreceive.commands.base import registry
from gitreceive.receive import GitRequest
from gitreceive.session import Doors, Session
from runtime.errors import UsageError
from runtime.model import APP_NAME
from tests.unit.gitreceive.desk import NoEngine, Office, office_in
from tests.unit.runtime.samples import ADMIN

DOCUMENTED = {0, 1, 2, 20}
NAMES = sorted(registry.tree().commands)

odd = st.sampled_from(
    ["", "-", "--", "-o", "json", "--help", "-n", "-1", "99999999999999999999", "v1", "A=b", "web=1", "=", "shop",
     "Shop", "../shop", "shop.git", "\0", "\udcff", "\x1b[2J", "x" * 2_000, "'", '"', "\\", "\n", "é", "😀", "$HOME",
     "; id", "--app=shop", "--stdin", "--role", "admin", "git-push", "--force"]
)  # fmt: skip
word = odd | st.text(max_size=12) | st.text(st.characters(), max_size=4)
line = (
    st.text(max_size=40)
    | st.builds(
        lambda name, words: " ".join((name, *map(shlex.quote, words))),
        st.sampled_from(NAMES),
        st.lists(word, max_size=5),
    )
    | st.builds(lambda name, words: " ".join((name, *words)), st.sampled_from(NAMES), st.lists(word, max_size=5))
    | st.builds(" ".join, st.lists(word, max_size=4))
)
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Channel:
    """What a session needs of an SSH channel."""

    def __init__(self) -> None:
        self.code: int | None = None
        self.out, self.err = bytearray(), bytearray()

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.7", 50000)

    def get_environment_bytes(self) -> dict[bytes, bytes]:
        return {}

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes, kind: int | None = None) -> None:
        (self.out if kind is None else self.err).extend(data)

    def exit(self, code: int) -> None:
        self.code = code


class Link:
    full = False

    def __init__(self) -> None:
        self.sessions: set[Any] = set()


class Doorstep:
    """Sessions of an admin on a real store, with git and the engine out of reach."""

    def __init__(self, office: Office) -> None:
        self.office = office
        office.add_app("shop")

    async def say(self, command: str, typed: bytes = b"") -> Channel:
        channel = Channel()
        doors = Doors(self.office.pushes, self.office.commands, cast(Any, None))
        session = Session(ADMIN, doors, cast(Any, Link()))
        session.connection_made(cast(Any, channel))
        assert session.exec_requested(command)
        session.session_started()
        session.data_received(typed, None)
        session.eof_received()
        async with asyncio.timeout(20):
            await asyncio.gather(*doors.open)
        return channel


@pytest.fixture(scope="module")
def doorstep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doorstep]:
    with office_in(tmp_path_factory.mktemp("office"), NoEngine()) as office:
        yield Doorstep(office)


@quick
@given(line, st.binary(max_size=40))
@example("config:set 'shop", b"")
@example("config:set shop 'A=\0'", b"")
@example("config:set shop 'A=\udcff'", b"")
@example("apps:info '\x1b]0;owned\x07'", b"")
@example("config:import shop", b'{"A": "\xed\xa0\x80"}')
@example("keys:add anna", b"\xff")
@example("help '\udcff'", b"")
@example("x" * 200_000, b"")
async def test_any_command_line_ends_in_a_sentence(doorstep: Doorstep, command: str, typed: bytes) -> None:
    assume(not is_git(command))
    assume(not {"-f", "--follow"} & set(command.split()))  # these go on until the client goes
    channel = await doorstep.say(command, typed)
    err = channel.err.decode()
    assert channel.code in DOCUMENTED
    assert "internal error" not in err
    assert "Traceback" not in err + channel.out.decode()
    assert "\x1b" not in err
    if channel.code:
        assert err.splitlines()[-1].strip()
        assert "lockstep: " in err
        assert len(err) < 2000


def is_git(command: str) -> bool:
    try:
        return receive.parse(command) is not None
    except UsageError:
        return False


@quick
@given(st.sampled_from(["git-receive-pack", "git-upload-pack", "git receive-pack", "git  upload-pack"]), word)
@example("git-receive-pack", "shop' '--upload-pack=x")
def test_git_request_is_for_a_proper_name_or_none(service: str, path: str) -> None:
    try:
        found = receive.parse(f"{service} {shlex.quote(path)}")
    except UsageError:
        return
    assert isinstance(found, GitRequest)
    assert APP_NAME.fullmatch(found.app)
