"""The raw connection to the engine, against a server on a real socket that says what the test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runtime.engine.attach import STDERR, STDOUT, Attached, attach, start_exec
from runtime.engine.client import Engine
from runtime.errors import EngineUnreachable, NotFound

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"


@asynccontextmanager
async def engine_that(folder: Path, script: Script) -> AsyncIterator[tuple[Engine, list[bytes]]]:
    """An engine, and the heads of the requests that came."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        await script(reader, writer)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(folder / "sock"))
    async with server:
        yield Engine(f"unix://{folder / 'sock'}"), heads


def frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


async def read_all(attached: Attached) -> dict[int, bytes]:
    found = {STDOUT: b"", STDERR: b""}
    async for stream, data in attached.output():
        found[stream] += data
    attached.close()
    return found


async def test_streams_are_taken_apart_however_their_frames_arrive(tmp_path: Path) -> None:
    whole = frame(1, b"out" * 50_000) + frame(2, b"err") + frame(1, b"") + frame(1, b"end")

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED)
        for start in range(0, len(whole), 999):
            writer.write(whole[start : start + 999])
            await writer.drain()

    async with engine_that(tmp_path, script) as (engine, heads):
        found = await read_all(await attach(engine, "box", tty=False))
    assert found == {STDOUT: b"out" * 50_000 + b"end", STDERR: b"err"}
    line, *fields = heads[0].decode().split("\r\n")
    assert line.startswith("POST /containers/box/attach?stream=true&stdin=true&stdout=true&stderr=true&detachKeys=")
    assert {"Connection: Upgrade", "Upgrade: tcp"} <= set(fields)


async def test_terminal_is_not_framed(tmp_path: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = json.loads(await reader.readexactly(len(b'{"Detach": false, "Tty": true, "ConsoleSize": [31, 97]}')))
        writer.write(UPGRADED + bytes(range(256)) + json.dumps(head).encode())

    async with engine_that(tmp_path, script) as (engine, heads):
        found = await read_all(await start_exec(engine, "7", tty=True, size=(31, 97)))
    assert heads[0].startswith(b"POST /exec/7/start?")
    assert found[STDOUT] == bytes(range(256)) + b'{"Detach": false, "Tty": true, "ConsoleSize": [31, 97]}'


async def test_end_of_input_leaves_the_output_open(tmp_path: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED)
        writer.write(frame(1, await reader.read()))  # answers only when the input has ended

    async with engine_that(tmp_path, script) as (engine, _):
        attached = await attach(engine, "box", tty=False)
        await attached.write(b"all of it")
        attached.end_input()
        assert await read_all(attached) == {STDOUT: b"all of it", STDERR: b""}


@pytest.mark.parametrize("torn", [frame(1, b"whole") + frame(1, b"to")[:9], frame(1, b"whole") + b"\1\0\0"])
async def test_output_that_breaks_off_is_an_error(tmp_path: Path, torn: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADED + torn)

    async with engine_that(tmp_path, script) as (engine, _):
        attached = await attach(engine, "box", tty=False)
        with pytest.raises(EngineUnreachable, match="broke off the output"):
            await read_all(attached)
        attached.close()


async def test_refusal_is_the_engines_own_sentence(tmp_path: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = b'{"message":"No such container: box"}\n'
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with engine_that(tmp_path, script) as (engine, _):
        with pytest.raises(NotFound, match="No such container: box"):
            await attach(engine, "box", tty=False)


async def test_engine_that_is_not_there_or_says_nothing(tmp_path: Path) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    with pytest.raises(EngineUnreachable, match="cannot reach the docker engine"):
        await attach(Engine(f"unix://{tmp_path / 'none'}"), "box", tty=False)
    async with engine_that(tmp_path, script) as (engine, _):
        with pytest.raises(EngineUnreachable, match="did not take"):
            await attach(engine, "box", tty=False)
