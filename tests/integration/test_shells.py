"""Sessions whose user name is an app: what reaches the door, and terminals over a real connection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import asyncssh
import pytest

from gitreceive.model import Knock, Streams
from gitreceive.terminal import raw
from runtime.model import Key
from tests.integration.rig import Rig


@dataclass
class Door:
    """Serves the user `shop` and nobody else: says what it sees."""

    knocks: list[Knock] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    resized: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, operator: Key, knock: Knock, streams: Streams) -> int | None:
        self.knocks.append(knock)
        if knock.user != "shop":
            return None
        with raw(streams):
            if streams.terminal is not None:
                streams.terminal.on_resize = self.resized.set
                streams.write(b"up")
                await self.resized.wait()
                self.sizes.append((streams.terminal.rows, streams.terminal.columns))
            while data := await streams.read():
                streams.write(data)
                await streams.drain()
                if b"." in data:
                    break
        return 7


@pytest.fixture
async def door(rig: Rig) -> Door:
    await rig.server.close(0.0)
    door = Door()
    await rig.start(shells=door)
    return door


async def ssh(rig: Rig, user: str, *words: str, stdin: bytes = b"") -> tuple[int, bytes]:
    done = await rig.call(*rig.ssh_words(), "-p", str(rig.server.port), f"{user}@127.0.0.1", *words, stdin=stdin)
    return done.code, done.out


async def test_user_name_and_command_line_reach_the_door_as_they_are(rig: Rig, door: Door) -> None:
    assert await ssh(rig, "shop", "ls  'a b'", stdin=b"\x03\x00.") == (7, b"\x03\x00.")
    assert await ssh(rig, "shop", stdin=b".") == (7, b".")
    assert await ssh(rig, "paas", "version") == (0, b"")
    assert door.knocks == [Knock("shop", "ls  'a b'", None), Knock("shop", None, None), Knock("paas", "version", None)]


async def test_sftp_is_for_apps_alone(rig: Rig, door: Door) -> None:
    sftp = ("-s", "sftp")
    words = (*rig.ssh_words(), "-p", str(rig.server.port))
    assert (await rig.call(*words, "shop@127.0.0.1", *sftp, stdin=b".")).out == b"."
    refused = await rig.call(*words, "paas@127.0.0.1", *sftp)
    assert (refused.code, refused.err) == (
        1,
        "lockstep: 'sftp' is not offered here; sftp and scp go to an app: sftp APP@HOST, push with git\n",
    )
    assert [knock.subsystem for knock in door.knocks] == ["sftp", "sftp"]


async def test_git_is_served_whatever_the_user_is_called(rig: Rig, door: Door) -> None:
    work = rig.work()
    url = rig.url("shop").replace("paas@", "shop@")
    assert (await rig.git("push", url, "main", at=work)).code == 0
    assert door.knocks == []


async def test_terminal_is_raw_and_its_window_followed(rig: Rig, door: Door) -> None:
    async with asyncssh.connect(
        "127.0.0.1", rig.server.port, username="shop", client_keys=[str(rig.key)], known_hosts=None, config=[]
    ) as connection:
        process = await connection.create_process(term_type="xterm", term_size=(80, 24), encoding=None)
        async with asyncio.timeout(20):
            assert await process.stdout.readexactly(2) == b"up"
            process.change_terminal_size(120, 40)
            await door.resized.wait()
            process.stdin.write(b"a\r\n\x03\x04.")
            done = await process.wait()
    assert (done.stdout, done.exit_status) == (b"a\r\n\x03\x04.", 7)
    assert door.sizes == [(40, 120)]
