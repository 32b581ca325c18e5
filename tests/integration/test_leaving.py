"""Clients that go away, and a server that stops."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import asyncssh

from gitreceive.model import Lines, Push, RefResult, Streams
from tests.integration.rig import Rig


class Hanging:
    """A push or command that runs until it is cancelled."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def push(self, push: Push, out: Lines) -> tuple[RefResult, ...]:
        await self._hang()
        return ()

    async def command(self, words: tuple[str, ...], streams: Streams) -> int:
        await self._hang()
        return 0

    async def _hang(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


def git_processes(rig: Rig) -> list[str]:
    """The command lines of the git processes that work on the rig's repositories."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if f"{rig.folder}/repositories" in line and "receive-pack" in line:
            found.append(line)
    return found


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110  (the process table tells nobody)
            await asyncio.sleep(0.02)


async def test_client_killed_in_mid_push_cancels_it_and_ends_git(rig: Rig) -> None:
    hanging = Hanging()
    rig.door.on_push = hanging.push
    client = await rig.start_process("git", "-C", str(rig.work()), "push", rig.url("shop"), "main")
    async with asyncio.timeout(20):
        await hanging.started.wait()
        assert git_processes(rig)
        os.killpg(client.pid, signal.SIGKILL)
        await hanging.cancelled.wait()
    await client.communicate()
    await until(lambda: not git_processes(rig))
    assert rig.stored("shop") is None


async def test_push_is_cancelled_before_git_is_ended(rig: Rig) -> None:
    hanging = Hanging()
    seen: list[bool] = []

    async def look(push: Push, out: Lines) -> tuple[RefResult, ...]:
        try:
            await hanging.push(push, out)
        finally:
            await asyncio.sleep(0.2)
            seen.append(bool(git_processes(rig)))
        return ()

    rig.door.on_push = look
    client = await rig.start_process("git", "-C", str(rig.work()), "push", rig.url("shop"), "main")
    async with asyncio.timeout(20):
        await hanging.started.wait()
        os.killpg(client.pid, signal.SIGKILL)
        await hanging.cancelled.wait()
    await client.communicate()
    await until(lambda: seen == [True] and not git_processes(rig))


async def test_undoing_a_push_is_not_cancelled_again(rig: Rig) -> None:
    hanging = Hanging()
    undone = asyncio.Event()

    async def undo(push: Push, out: Lines) -> tuple[RefResult, ...]:
        try:
            await hanging.push(push, out)
        finally:
            await asyncio.sleep(0.3)
            undone.set()
        return ()

    rig.door.on_push = undo
    client = await rig.start_process("git", "-C", str(rig.work()), "push", rig.url("shop"), "main")
    await hanging.started.wait()
    os.killpg(client.pid, signal.SIGKILL)
    await client.communicate()
    async with asyncio.timeout(10):
        await hanging.cancelled.wait()
    await rig.server.close(0.0)
    assert undone.is_set()


async def test_client_killed_while_it_sends_leaves_no_git(rig: Rig) -> None:
    work = rig.work(big=os.urandom(30 * 1024 * 1024))
    client = await rig.start_process("git", "-C", str(work), "push", rig.url("shop"), "main")
    await until(lambda: any((rig.door.repository("shop") / "objects").glob("*incoming*/*")))
    os.killpg(client.pid, signal.SIGKILL)
    await client.communicate()
    await until(lambda: not git_processes(rig))
    await until(lambda: not any((rig.door.repository("shop") / "objects").glob("*incoming*")))
    assert not rig.door.pushes


async def test_client_killed_cancels_a_command(rig: Rig) -> None:
    hanging = Hanging()
    rig.door.on_command = hanging.command
    client = await rig.start_process(*rig.ssh_words(), "-p", str(rig.server.port), "paas@127.0.0.1", "logs")
    async with asyncio.timeout(20):
        await hanging.started.wait()
        client.kill()
        await hanging.cancelled.wait()
    await client.communicate()


async def test_channel_closed_on_an_open_connection_cancels_a_command(rig: Rig) -> None:
    hanging = Hanging()
    rig.door.on_command = hanging.command
    async with asyncssh.connect(
        "127.0.0.1", rig.server.port, username="paas", client_keys=[str(rig.key)], known_hosts=None, config=None
    ) as connection:
        process = await connection.create_process("logs")
        async with asyncio.timeout(20):
            await hanging.started.wait()
            process.close()
            await hanging.cancelled.wait()


async def test_server_that_stops_lets_sessions_finish_in_its_grace(rig: Rig) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def finish(push: Push, out: Lines) -> tuple[RefResult, ...]:
        started.set()
        await go_on.wait()
        return (RefResult(push.updates[0].ref),)

    rig.door.on_push = finish
    push = asyncio.create_task(rig.git("push", rig.url("shop"), "main", at=rig.work()))
    await started.wait()
    closing = asyncio.create_task(rig.server.close(20.0))
    await asyncio.sleep(0.1)
    go_on.set()
    assert (await push).code == 0
    await closing
    assert rig.stored("shop") is not None


async def test_server_that_stops_says_so(rig: Rig) -> None:
    hanging = Hanging()
    rig.door.on_command = hanging.command
    command = asyncio.create_task(rig.ssh("logs"))
    await hanging.started.wait()
    await rig.server.close(0.1)
    done = await command
    assert (done.code, done.err) == (1, "lockstep: the server is stopping\n")


async def test_server_that_stops_cancels_what_outlasts_its_grace(rig: Rig) -> None:
    hanging = Hanging()
    rig.door.on_push = hanging.push
    push = asyncio.create_task(rig.git("push", rig.url("shop"), "main", at=rig.work()))
    await hanging.started.wait()
    await rig.server.close(0.1)
    assert hanging.cancelled.is_set()
    done = await push
    assert done.code != 0
    assert rig.stored("shop") is None
    assert not git_processes(rig)
