"""Operator commands over ssh: words in, bytes through, exit codes out."""

from __future__ import annotations

import asyncio
import hashlib
import os

import asyncssh
import pytest

from gitreceive.model import Streams
from runtime.errors import NoSuchApp
from tests.integration.rig import Rig
from tests.integration.test_keys import connect


async def show_words(words: tuple[str, ...], streams: Streams) -> int:
    streams.write(repr(words).encode())
    return 0


async def echo(words: tuple[str, ...], streams: Streams) -> int:
    while data := await streams.read():
        streams.write(data)
        await streams.drain()
    return 0


async def test_words_are_split_as_a_shell_would(rig: Rig) -> None:
    rig.door.on_command = show_words
    assert (await rig.ssh("config:set", "'A=x y'", "B=2")).out == b"('config:set', 'A=x y', 'B=2')"
    assert (await rig.ssh()).out == b"()"


async def test_command_line_that_can_not_be_read_is_a_usage_error(rig: Rig) -> None:
    done = await rig.ssh("config:set 'A=x")
    assert done.code == 2
    assert done.err == "lockstep: the command line can not be read: no closing quotation\n"


@pytest.mark.parametrize("code", [0, 1, 2, 20, 137])
async def test_exit_code_is_the_commands(rig: Rig, code: int) -> None:
    async def answer(words: tuple[str, ...], streams: Streams) -> int:
        return code

    rig.door.on_command = answer
    assert (await rig.ssh("run")).code == code


async def test_errors_are_sentences_with_their_exit_code(rig: Rig) -> None:
    async def answer(words: tuple[str, ...], streams: Streams) -> int:
        raise NoSuchApp("there is no app 'x'")

    rig.door.on_command = answer
    done = await rig.ssh("ps", "x")
    assert (done.code, done.out, done.err) == (20, b"", "lockstep: there is no app 'x'\n")


async def test_internal_error_does_not_leak(rig: Rig) -> None:
    async def answer(words: tuple[str, ...], streams: Streams) -> int:
        raise KeyError("secret")

    rig.door.on_command = answer
    done = await rig.ssh("ps")
    assert done.code == 1
    assert "internal error, see the server's log" in done.err
    assert "secret" not in done.err


async def test_output_and_errors_stay_apart(rig: Rig) -> None:
    async def answer(words: tuple[str, ...], streams: Streams) -> int:
        streams.write(b"out\n")
        streams.write(b"err\n", error=True)
        return 0

    rig.door.on_command = answer
    done = await rig.ssh("ps")
    assert (done.out, done.err) == (b"out\n", "err\n")


async def test_bytes_pass_unchanged_both_ways(rig: Rig) -> None:
    rig.door.on_command = echo
    sent = bytes(range(256)) + os.urandom(10 * 1024 * 1024)
    done = await rig.ssh("echo", stdin=sent)
    assert done.code == 0
    assert hashlib.sha256(done.out).digest() == hashlib.sha256(sent).digest()


async def test_input_that_is_not_read_does_not_hold_the_answer(rig: Rig) -> None:
    async def answer(words: tuple[str, ...], streams: Streams) -> int:
        streams.write(await streams.read(3))
        return 5

    rig.door.on_command = answer
    process = await rig.start_process(*rig.ssh_words(), "-p", str(rig.server.port), "paas@127.0.0.1", "peek")
    assert process.stdin is not None
    process.stdin.write(b"abc" + b"x" * 5_000_000)
    async with asyncio.timeout(20):
        assert await process.wait() == 5
    process.stdin.close()


async def test_terminal_is_described_and_lines_end_as_it_needs(rig: Rig) -> None:
    async def answer(words: tuple[str, ...], streams: Streams) -> int:
        assert streams.terminal is not None
        streams.write(f"{streams.terminal.kind} {streams.terminal.columns}\nx\r\n".encode())
        return 0

    rig.door.on_command = answer
    async with connect(rig) as connection:
        done = await connection.run("ps", term_type="vt100", term_size=(91, 27), encoding=None)
    assert done.stdout == b"vt100 91\r\nx\r\n"
    assert (await rig.ssh("ps", tty=True)).code == 0


async def test_size_of_the_terminal_follows_the_window(rig: Rig) -> None:
    async def answer(words: tuple[str, ...], streams: Streams) -> int:
        assert streams.terminal is not None
        await streams.read()
        return streams.terminal.columns

    rig.door.on_command = answer
    async with connect(rig) as connection:
        process = await connection.create_process("top", term_type="vt100", term_size=(80, 24))
        process.change_terminal_size(120, 40)
        process.stdin.write("\r")
        assert (await process.wait()).exit_status == 120


@pytest.mark.parametrize("how", ["key", "signal", "break"])
async def test_interrupt_ends_a_command_with_130(rig: Rig, how: str) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def answer(words: tuple[str, ...], streams: Streams) -> int:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return 0

    rig.door.on_command = answer
    async with connect(rig) as connection:
        process = await connection.create_process("logs", term_type="vt100" if how == "key" else None)
        await started.wait()
        if how == "key":
            process.stdin.write("\x03")
        elif how == "signal":
            process.send_signal("INT")
        else:
            process.send_break(500)
        assert (await process.wait()).exit_status == 130
    assert cancelled.is_set()


async def test_raw_terminal_passes_every_key(rig: Rig) -> None:
    async def answer(words: tuple[str, ...], streams: Streams) -> int:
        assert streams.terminal is not None
        streams.terminal.raw = True
        streams.write(b"ready\n")
        streams.write(await streams.read())
        return 0

    rig.door.on_command = answer
    async with connect(rig) as connection:
        process = await connection.create_process("enter", term_type="vt100", encoding=None)
        assert await process.stdout.readexactly(6) == b"ready\n"
        process.stdin.write(b"\x03\x04\r")
        assert await process.stdout.read() == b"\x03\x04\r"


async def test_subsystem_is_refused_politely(rig: Rig) -> None:
    done = await rig.ssh("-s", "sftp")
    assert done.code == 1
    assert "lockstep: 'sftp' is not offered" in done.err


async def test_slow_reader_blocks_only_itself(rig: Rig) -> None:
    sent = 0

    async def flood(words: tuple[str, ...], streams: Streams) -> int:
        nonlocal sent
        while words == ("flood",):
            streams.write(b"x" * 65536)
            await streams.drain()
            sent += 65536
        return 0

    rig.door.on_command = flood
    slow = await rig.start_process(*rig.ssh_words(), "-p", str(rig.server.port), "paas@127.0.0.1", "flood")
    before = -1
    while before != sent:
        before = sent
        assert (await rig.ssh("true")).code == 0
        await asyncio.sleep(0.3)
    assert 0 < sent < 20 * 1024 * 1024
    slow.kill()
    await slow.communicate()


async def test_client_with_a_huge_window_that_never_reads_is_held_back(rig: Rig) -> None:
    sent = 0

    async def flood(words: tuple[str, ...], streams: Streams) -> int:
        nonlocal sent
        while True:
            streams.write(b"x" * 65536)
            await streams.drain()
            sent += 65536

    rig.door.on_command = flood
    async with connect(rig) as connection:
        channel, _ = await connection.create_session(
            asyncssh.SSHClientSession, "flood", encoding=None, window=1 << 30, max_pktsize=32768
        )
        transport = connection._transport
        assert transport is not None
        transport.pause_reading()
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.3)
        assert 0 < sent < 64 * 1024 * 1024
        transport.resume_reading()
        channel.abort()


async def test_two_hundred_sessions_at_a_time(rig: Rig) -> None:
    everyone = asyncio.Barrier(200)

    async def meet(words: tuple[str, ...], streams: Streams) -> int:
        await everyone.wait()
        return 0

    async def ten_on_one_connection() -> list[int | None]:
        async with connect(rig) as connection:
            done = await asyncio.gather(*(connection.run("meet") for _ in range(10)))
            return [one.exit_status for one in done]

    rig.door.on_command = meet
    async with asyncio.timeout(30):
        codes = await asyncio.gather(*(ten_on_one_connection() for _ in range(20)))
    assert [code for some in codes for code in some] == [0] * 200
