"""People and their keys on the real front door: real store, real commands, real git and ssh; no engine."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import stat
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gitreceive.commands.base import registry
from gitreceive.hostkey import open_to_host
from gitreceive.keyring import StoreKeyRing
from gitreceive.main import host
from gitreceive.server import SshServer, start_server
from runtime.settings import Settings, load_settings
from tests.integration.rig import HOOKS, Done, Rig
from tests.unit.gitreceive.desk import NoEngine, Office, office_in

LOCKSTEP = Path(sys.executable).with_name("lockstep")


class House(Rig):
    """An instance made by `init`, with its front door open; `key` is its admin's."""

    def __init__(self, folder: Path, office: Office) -> None:
        super().__init__(folder)
        self.office = office
        self.settings: Settings
        self.server: SshServer

    async def open(self) -> None:
        words = ["init", "--home", str(self.folder), "--admin-key", f"{self.key}.pub"]
        host.main(words, prog_name="lockstep", standalone_mode=False)
        self.settings = load_settings(self.folder)
        self.server = await start_server(
            "127.0.0.1",
            0,
            self.settings.host_key,
            StoreKeyRing(self.office.store),
            self.office.pushes,
            self.office.commands,
            self.settings.run / "hook",
            HOOKS,
            callers=self.office.operations.callers,
        )
        open_to_host(self.settings, self.server.port)

    async def lockstep(self, *words: str, stdin: bytes = b"") -> Done:
        return await self.call(str(LOCKSTEP), *words, stdin=stdin)

    async def here(self, *words: str, stdin: bytes = b"") -> Done:
        """An operator's command on the server's own host."""
        return await self.lockstep("--home", str(self.folder), *words, stdin=stdin)

    async def person(self, name: str, *words: str) -> Path:
        """Let somebody in; the path of the key."""
        path = self.make_key(name)
        done = await self.ssh("keys:add", name, *words, stdin=path.with_suffix(".pub").read_bytes())
        assert (done.code, done.err) == (0, "")
        return path

    async def as_person(self, key: Path, *words: str) -> Done:
        target = ("-p", str(self.server.port), "paas@127.0.0.1")
        return await self.call(*self.ssh_words(key=key), *target, "--", *words)

    async def rows(self, *words: str) -> list[dict[str, Any]]:
        done = await self.ssh(*words, "-o", "json")
        assert done.code == 0, done.err
        found: list[dict[str, Any]] = json.loads(done.out)
        return found


@pytest.fixture
async def house() -> AsyncIterator[House]:
    with tempfile.TemporaryDirectory(prefix="ls-int-") as folder, office_in(Path(folder), NoEngine()) as office:
        house = House(Path(folder), office)
        await house.open()
        yield house
        await house.server.close(0.0)


async def test_viewer_clones_and_does_not_push(house: House) -> None:
    work = house.work()
    house.git_now("tag", "v1", at=work)
    assert (await house.git("push", "-q", house.url("shop"), "v1", at=work)).code == 0
    viewer = await house.person("vera", "--role", "viewer")
    cloned = await house.git("clone", "-q", "-b", "v1", house.url("shop"), str(house.folder / "clone"), key=viewer)
    assert cloned.code == 0, cloned.err
    assert (house.folder / "clone" / "hello").read_bytes() == b"hello\n"
    refused = await house.git("push", house.url("shop"), "v1:refs/tags/v2", at=work, key=viewer)
    assert refused.code == 128
    assert "lockstep: the key 'vera' has the role viewer: this takes a developer" in refused.err
    made = await house.git("push", house.url("blog"), "v1", at=work, key=viewer)
    assert made.code == 128
    assert [row["app"] for row in await house.rows("apps")] == ["shop"]


async def test_key_for_pushes_alone_pushes_and_no_more(house: House) -> None:
    work = house.work()
    house.git_now("tag", "v1", at=work)
    robot = await house.person("ci", "--command", "git-push")
    pushed = await house.git("push", "-q", house.url("shop"), "v1", at=work, key=robot)
    assert pushed.code == 0, pushed.err
    sentence = "lockstep: the key 'ci' is for git-push alone and not for"
    cloned = await house.git("clone", "-q", house.url("shop"), str(house.folder / "clone"), key=robot)
    assert (cloned.code, f"{sentence} git-fetch" in cloned.err) == (128, True)
    for words in (("apps",), ("config:set", "shop", "A=1"), ("help",)):
        done = await house.as_person(robot, *words)
        assert (done.code, done.out, done.err) == (1, b"", f"{sentence} {words[0]}\n")


async def test_key_that_is_removed_takes_its_open_sessions_along(house: House) -> None:
    anna = await house.person("anna", "--role", "admin")
    words = (*house.ssh_words(key=anna), "-p", str(house.server.port), "paas@127.0.0.1", "events", "-f")
    follower = await house.start_process(*words)
    assert follower.stdout is not None
    assert b"keys:add" in await follower.stdout.readline()
    assert (await house.ssh("keys:remove", "anna")).out.endswith(b"; open sessions of it: 1, ended now\n")
    _, err = await follower.communicate()
    assert (follower.returncode, err) == (1, b"lockstep: the key 'anna' was removed by admin\n")
    assert (await house.as_person(anna, "events")).code == 255


async def test_key_of_one_app_learns_nothing_of_another(house: House) -> None:
    for app in ("shop", "blog"):
        assert (await house.ssh("apps:create", app)).code == 0
    lena = await house.person("lena", "--app", "shop")
    for app in ("blog", "nope"):
        told = f"lockstep: there is no app '{app}': 'apps' lists those there are\n"
        done = await house.as_person(lena, "apps:info", app)
        assert (done.code, done.err) == (20, told)
        cloned = await house.git("clone", house.url(app), str(house.folder / "clone"), key=lena)
        assert told in cloned.err


async def test_keys_and_events_say_who_came_from_where(house: House) -> None:
    lena = await house.person("lena")
    assert [row["used"] for row in await house.rows("keys") if row["name"] == "lena"] == [None]
    assert (await house.as_person(lena, "config:set", "nope", "A=1")).code == 20
    assert (await house.as_person(lena, "apps:create", "shop")).code == 0
    [row] = [row for row in await house.rows("keys") if row["name"] == "lena"]
    assert row["used"] is not None
    assert (row["role"], row["apps"], row["commands"]) == ("developer", "all", "all")
    events = [(row["who"], row["from"], row["what"], row["result"]) for row in await house.rows("events")]
    assert events == [
        ("admin", "127.0.0.1", "keys:add", "ok"),
        ("lena", "127.0.0.1", "config:set", "there is no app 'nope': 'apps' lists those there are"),
        ("lena", "127.0.0.1", "apps:create", "ok"),
    ]


async def test_values_reach_the_store_as_ssh_delivers_them(house: House) -> None:
    assert (await house.ssh("apps:create", "shop")).code == 0
    values = {"A": "two words", "B": 'it\'s "so" = $HOME', "C": "one\ntwo", "D": "ä€😀", "E": ""}
    words = [f"'{name}={value}'" for name, value in values.items() if "'" not in value]
    assert (await house.ssh("config:set", "shop", *words)).code == 0
    assert (await house.ssh("config:set", "shop", "--stdin", "B", stdin=values["B"].encode())).code == 0
    exported = await house.ssh("config:export", "shop", "--format", "json")
    assert json.loads(exported.out) == values
    assert (await house.ssh("apps:create", "blog")).code == 0
    env = await house.ssh("config:export", "shop")
    assert (await house.ssh("config:import", "blog", stdin=env.out)).code == 0
    for name, value in values.items():
        assert (await house.ssh("config:get", "blog", name)).out == f"{value}\n".encode()


# ---- on the host itself -----------------------------------------------------------------------------------------


async def test_commands_on_the_host_are_those_of_the_door(house: House) -> None:
    assert (await house.here("apps:create", "shop")).code == 0
    done = await house.here("config:set", "shop", "A=two  words", "B=it's")
    assert (done.code, done.err) == (0, "")
    assert (await house.here("config:get", "shop", "A")).out == b"two  words\n"
    assert (await house.here("config:import", "shop", stdin=b"C=3\n")).code == 0
    missing = await house.here("ps", "nope", "-o", "json")
    assert (missing.code, missing.err) == (20, "lockstep: there is no app 'nope': 'apps' lists those there are\n")
    assert (await house.here("ps")).code == 2
    assert b"Usage: ps [OPTIONS] APP" in (await house.here("ps", "--help")).out
    assert {row["who"] for row in await house.rows("events")} == {"host"}


async def test_host_has_a_key_of_its_own_that_nobody_else_reads(house: House) -> None:
    path = house.settings.client_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    again = await house.lockstep("init", "--home", str(house.folder), "--admin-key", f"{house.key}.pub")
    assert again.code == 0
    assert path.read_bytes() == before
    assert [(row["name"], row["role"]) for row in await house.rows("keys")] == [("admin", "admin"), ("host", "admin")]


async def test_terminal_of_the_host_is_the_commands(house: House) -> None:
    assert (await house.here("apps:create", "shop")).code == 0
    main, other = pty.openpty()
    words = (str(LOCKSTEP), "--home", str(house.folder), "apps:destroy", "shop")
    process = await asyncio.create_subprocess_exec(*words, stdin=other, stdout=other, stderr=other)
    os.close(other)
    os.write(main, b"blog\r")
    async with asyncio.timeout(30):
        assert await process.wait() == 2
    shown = bytearray()
    with suppress(OSError):  # all of it was read, and the other end is closed
        while piece := os.read(main, 65536):
            shown += piece
    os.close(main)
    assert b"Type its name to go on: " in shown
    assert b"the name typed is not shop: nothing was removed" in shown


async def test_server_that_is_not_the_instances_is_not_talked_to(house: House) -> None:
    """Another program, or another instance, on the port."""
    impostor = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    house.settings.port_file.write_text(str(impostor.sockets[0].getsockname()[1]))
    done = await house.here("apps")
    impostor.close()
    assert (done.code, "something else than Lockstep answers" in done.err) == (1, True)
    other = await start_server(
        "127.0.0.1", 0, house.folder / "other_key", StoreKeyRing(house.office.store), house.office.pushes,
        house.office.commands, house.folder / "other", HOOKS,
    )  # fmt: skip
    house.settings.port_file.write_text(str(other.port))
    done = await house.here("apps")
    await other.close(0.0)
    assert (done.code, "Host key verification failed" in done.err) == (255, True)


async def test_host_without_a_server_is_told_how_to_start_one(house: House) -> None:
    start = f"start it with 'lockstep serve --home {house.folder}'"
    house.settings.port_file.write_text("1")
    done = await house.here("apps")
    assert (done.code, done.err) == (1, f"lockstep: no server of {house.folder} answers: {start}\n")
    house.settings.port_file.unlink()
    assert (await house.here("apps")).err == done.err
    nowhere = await house.lockstep("apps")
    assert (nowhere.code, nowhere.err) == (
        2,
        "lockstep: which instance is 'apps' for? Say 'lockstep --home DIR apps'\n",
    )
    unmade = await house.lockstep("--home", "/nonexistent", "apps")
    assert (unmade.code, "run 'lockstep init --home /nonexistent' first" in unmade.err) == (1, True)


def test_no_word_of_the_host_hides_an_operators_command() -> None:
    assert not set(host.commands) & set(registry.tree().commands)
