"""A reader of a command's output that goes away ends the command, as in `ssh … | head -1`."""

from __future__ import annotations

import asyncio
import os
import shlex

import pytest

from gitreceive.model import Streams
from tests.integration.rig import DEADLINE, Rig
from tests.integration.test_keys import connect


class Talker:
    """A command that writes a line at a time for as long as anybody reads; knows how it ended."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def __call__(self, words: tuple[str, ...], streams: Streams) -> int:
        try:
            while True:
                streams.write(b"a line\n")
                await streams.drain()
                await asyncio.sleep(0.01)
        finally:
            self.ended.set()


async def head(rig: Rig, *ssh: str) -> tuple[int, bytes]:
    """What `head -1` shows of the command, and with which code ssh ended."""
    words = shlex.join((*rig.ssh_words(), *ssh, "-p", str(rig.server.port), "paas@127.0.0.1", "logs"))
    process = await rig.start_process("bash", "-c", f"{words} | head -1; exit ${{PIPESTATUS[0]}}")
    async with asyncio.timeout(DEADLINE):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out


@pytest.mark.parametrize("terminal", [(), ("-tt",)], ids=["plain", "terminal"])
async def test_head_ends_what_it_reads_from(rig: Rig, terminal: tuple[str, ...]) -> None:
    rig.door.on_command = talker = Talker()
    code, out = await head(rig, *terminal)
    assert (code, out.rstrip()) == (141, b"a line")
    assert talker.ended.is_set()


async def test_other_sessions_of_the_connection_go_on(rig: Rig) -> None:
    rig.door.on_command = talker = Talker()
    master = ("-o", f"ControlPath={rig.folder}/master")
    words = (*rig.ssh_words(), *master, "-o", "ControlMaster=yes", "-p", str(rig.server.port), "paas@127.0.0.1", "logs")
    other = await rig.start_process(*words)
    assert other.stdout is not None
    assert await other.stdout.readline() == b"a line\n"
    assert (await head(rig, *master))[0] == 141
    talker.ended.clear()
    assert await other.stdout.readline() == b"a line\n"
    assert not talker.ended.is_set()
    os.killpg(other.pid, 15)
    await other.communicate()


async def test_a_client_that_says_nothing_of_its_reader_is_served_to_the_end(rig: Rig) -> None:
    async def answer(words: tuple[str, ...], streams: Streams) -> int:
        streams.write(await streams.read())
        return 0

    rig.door.on_command = answer
    async with connect(rig) as connection:
        done = await connection.run("cat", input="all of it", encoding="utf-8")
    assert (done.exit_status, done.stdout) == (0, "all of it")
