"""The bridge between a session and a program, the words of `run` and `enter`, and whom the door of apps lets in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gitreceive.commands.base import registry
from gitreceive.model import Knock, Terminal
from gitreceive.shells import Shells
from gitreceive.terminal import END_OF_INPUT, bridge, raw, tty_of
from runtime.engine.attach import STDERR, STDOUT
from runtime.errors import LockstepError, Refused, UsageError
from runtime.runs.values import Tty
from tests.unit.gitreceive.desk import Office, Streams
from tests.unit.runtime import samples


@dataclass
class Program:
    """Echoes its input to its end; `wishes` are what it was told beside."""

    wishes: list[Any] = field(default_factory=list)
    given: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        yield STDERR, b"begun"
        while data := await self.given.get():
            yield STDOUT, data

    async def write(self, data: bytes) -> None:
        head, end, _ = data.partition(END_OF_INPUT)
        await self.given.put(head)
        if end:
            self.end_input()

    def end_input(self) -> None:
        self.given.put_nowait(b"")

    async def resize(self, rows: int, columns: int) -> None:
        self.wishes.append((rows, columns))

    async def signal(self, name: str) -> None:
        self.wishes.append(name)

    async def exit_code(self) -> int:
        return 42


async def test_bytes_and_the_exit_code_pass() -> None:
    streams = Streams(b"\x00\xff\r\n")
    assert await bridge(Program(), streams) == 42
    assert (bytes(streams.out), bytes(streams.err)) == (b"\x00\xff\r\n", b"begun")


async def test_window_and_signals_reach_the_program() -> None:
    terminal = Terminal("xterm", 80, 24)
    streams, program = Waiting(terminal=terminal), Program()
    with raw(streams):
        task = asyncio.create_task(bridge(program, streams))
        await until(lambda: program.wishes == [(24, 80)] and terminal.raw)
        terminal.resize(100, 30)
        assert streams.on_signal is not None
        streams.on_signal("INT")
        await until(lambda: program.wishes[1:] == [(30, 100), "INT"])
        streams.more.set()
        assert await task == 42
    assert not terminal.raw
    assert [terminal.on_resize, streams.on_signal] == [None, None]


@dataclass
class Waiting(Streams):
    """A client that sends nothing until it ends."""

    more: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, limit: int = 65536) -> bytes:
        await self.more.wait()
        return b""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a fake program tells nobody
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("kind", "columns", "rows", "tty"),
    [
        ("xterm-256color", 80, 24, Tty("xterm-256color", 24, 80)),
        ("", 0, 0, Tty("dumb", 0, 0)),
        ("x; rm -rf /", 4_000_000_000, -1, Tty("dumb", 0, 9999)),
        ("a\nB=c", 1, 1, Tty("dumb", 1, 1)),
    ],
)
def test_terminal_of_a_client_is_bounded(kind: str, columns: int, rows: int, tty: Tty) -> None:
    assert tty_of(Streams(terminal=Terminal(kind, columns, rows))) == tty


# ---- words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "given", "parsed"),
    [
        ("run", "shop ls -l", ("shop", ("ls", "-l"), ())),
        ("run", "-e A=b shop ls --env x", ("shop", ("ls", "--env", "x"), ("A=b",))),
        ("run", "shop --env=A=b -eC=d ls", ("shop", ("ls",), ("A=b", "C=d"))),
        ("run", "shop -e A=b -- ls -l", ("shop", ("--", "ls", "-l"), ("A=b",))),
        ("run:detached", "shop --timeout 5m sleep 1", ("shop", ("sleep", "1"), ())),
    ],
)
def test_options_end_where_the_command_begins(command: str, given: str, parsed: tuple[Any, ...]) -> None:
    found = registry.tree().commands[command]
    params = found.make_context(command, given.split()).params
    assert (params["app"], params["words"], params["env"]) == parsed


def test_worker_stands_on_either_side_of_the_app() -> None:
    found = registry.tree().commands["enter"]
    for given in ("shop -w mailer ls -w", "--worker mailer shop ls -w", "shop --worker=mailer ls -w"):
        params = found.make_context("enter", given.split()).params
        assert (params["app"], params["worker"], params["words"]) == ("shop", "mailer", ("ls", "-w"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "shop"), "there is no command to run"),
        (("run", "shop", "-x", "ls"), "no such option '-x'"),
        (("run", "-e", "A", "shop", "ls"), "'A' is not KEY=VALUE"),
        (("run", "-e", "LOCKSTEP_APP=x", "shop", "ls"), "are set by the platform"),
        (("run:detached", "--timeout", "0s", "shop", "ls"), "is not a time limit"),
        (("run:detached", "--timeout", "31d", "shop", "ls"), "is not a time limit"),
        (("run:logs", "shop", "seven"), "'seven' is not a run"),
        (("run", "shop", "-p"), "option '-p' requires an argument; usage: run [OPTIONS] APP CMD…"),
        (("run", "-e"), "option '-e' requires an argument"),
    ],
)
async def test_words_that_do_not_fit(office: Office, words: tuple[str, ...], sentence: str) -> None:
    office.add_app("shop", 1, live=1)
    done = await office.run(*words)
    assert sentence in done.err
    assert done.code == 2


async def test_nothing_is_run_of_an_app_that_is_not_live(office: Office) -> None:
    office.add_app("shop")
    for words in (("run", "shop", "ls"), ("run:detached", "shop", "ls")):
        done = await office.run(*words)
        assert (done.code, "nothing of shop is live" in done.err) == (1, True)
    assert (await office.run("run:list", "shop", "-o", "json")).out == "[]\n"


# ---- the door of apps ------------------------------------------------------------------------------------------


async def knock(office: Office, user: str, line: str | None = None, subsystem: str | None = None, **who: Any) -> Any:
    operations = office.operations
    operator = who.get("who", samples.DEVELOPER)
    return await Shells(operations).answer(operator, Knock(user, line, subsystem), Streams())


async def test_names_that_are_no_apps_are_left_to_the_commands(office: Office) -> None:
    for name in ("paas", "git", "shop"):
        office.add_app(name)
    only_blog = samples.key("bert", apps=("blog",))
    assert await knock(office, "paas") is None
    assert await knock(office, "git", subsystem="sftp") is None
    assert await knock(office, "root") is None
    assert await knock(office, "shopping") is None
    assert await knock(office, "shop", who=only_blog) is None  # as if it were not there


@pytest.mark.parametrize(
    ("user", "subsystem", "who", "error", "sentence"),
    [
        ("shop", None, samples.VIEWER, Refused, "this takes a developer"),
        ("shop--mailer", None, samples.VIEWER, Refused, "this takes a developer"),
        ("shop", "sftp", samples.VIEWER, Refused, "this takes a developer"),
        ("shop", "netconf", samples.DEVELOPER, UsageError, "'netconf' is not offered"),
        ("shop--", None, samples.DEVELOPER, UsageError, "name a process"),
        ("shop", None, samples.DEVELOPER, LockstepError, "nothing of shop is live"),
        ("shop", "sftp", samples.DEVELOPER, LockstepError, "nothing of shop is live"),
    ],
)
async def test_who_and_what_is_refused(
    office: Office, user: str, subsystem: str | None, who: Any, error: type[LockstepError], sentence: str
) -> None:
    office.add_app("shop")
    with pytest.raises(error, match=sentence):
        await knock(office, user, subsystem=subsystem, who=who)


async def test_process_that_is_not_there_is_named(office: Office) -> None:
    office.add_app("shop", 1, live=1)
    with pytest.raises(LockstepError, match="shop has no process 'postman': it has web") as refusal:
        await knock(office, "shop--postman", "ls")
    codes = {(await office.run(*words)).code for words in (("enter", "shop", "ls"), ("run", "shop", "-p", "no", "ls"))}
    assert {refusal.value.exit_code, *codes} == {1}
    with pytest.raises(LockstepError, match="has no folder that outlives a release"):
        await knock(office, "shop", subsystem="sftp")
