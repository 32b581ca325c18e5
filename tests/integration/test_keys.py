"""Who may come in, and what they can not ask for."""

from __future__ import annotations

import asyncio
import stat

import asyncssh
import pytest

from gitreceive import server
from gitreceive.model import Streams
from gitreceive.server import load_host_key
from runtime.errors import SettingsError
from tests.integration.rig import Rig


async def test_unknown_key_is_refused(rig: Rig) -> None:
    done = await rig.git("push", rig.url("shop"), "main", at=rig.work(), key=rig.make_key("stranger"))
    assert done.code == 128
    assert "Permission denied (publickey)" in done.err
    assert not rig.door.pushes
    assert rig.door.comings == []


async def test_key_counts_as_used_when_it_is_proven_and_once_a_connection(rig: Rig) -> None:
    async with connect(rig) as connection:
        for _ in range(3):
            assert (await connection.run("true")).exit_status == 0
    assert rig.door.comings == ["ada"]


async def test_only_keys_are_offered(rig: Rig) -> None:
    words = rig.ssh_words("PreferredAuthentications=none,password,keyboard-interactive")
    done = await rig.call(*words, "-p", str(rig.server.port), "paas@127.0.0.1", "true")
    assert done.code == 255
    assert "Permission denied (publickey)." in done.err


async def test_key_that_was_removed_opens_no_new_session(rig: Rig) -> None:
    async with connect(rig) as connection:
        assert (await connection.run("true")).exit_status == 0
        rig.door.keys.clear()
        with pytest.raises(asyncssh.ChannelOpenError, match="this key was removed"):
            await connection.run("true")


async def test_rights_of_a_key_are_asked_for_anew_by_each_session(rig: Rig) -> None:
    async def answer(words: tuple[str, ...], streams: Streams) -> int:
        return 0

    rig.door.on_command = answer
    async with connect(rig) as connection:
        assert (await connection.run("true")).exit_status == 0
        renamed = rig.operator.model_copy(update={"apps": ("store",)})
        rig.door.keys[rig.operator.fingerprint] = renamed
        assert (await connection.run("true")).exit_status == 0
    assert [operator.apps for operator in rig.door.operators] == [(), ("store",)]


async def test_key_that_goes_takes_its_sessions_along(rig: Rig) -> None:
    started, ended = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def answer(words: tuple[str, ...], streams: Streams) -> int:
        if words == ("keys:remove",):
            rig.door.keys.clear()
            streams.write(str(rig.callers.shut_out(rig.operator.fingerprint, "the key went", streams)).encode())
            return 0
        try:
            started.release()
            await asyncio.Event().wait()
        finally:
            ended.release()
        return 0

    rig.door.on_command = answer
    async with connect(rig) as own, connect(rig) as other:
        open_ones = [await connection.create_process("logs") for connection in (own, other, other)]
        for _ in open_ones:
            await started.acquire()
        asked = await own.run("keys:remove")
        assert (asked.exit_status, asked.stdout) == (0, "3")
        for process in open_ones:
            done = await process.wait()
            assert (done.exit_status, done.stderr) == (1, "lockstep: the key went\n")
            await ended.acquire()
        await own.wait_closed()
        await other.wait_closed()


async def test_who_removes_the_own_key_gets_the_answer(rig: Rig) -> None:
    async def answer(words: tuple[str, ...], streams: Streams) -> int:
        streams.write(str(rig.callers.shut_out(rig.operator.fingerprint, "the key went", streams)).encode())
        return 0

    rig.door.on_command = answer
    done = await rig.ssh("keys:remove")
    assert (done.code, done.out, done.err) == (0, b"0", "")


async def test_forwarding_is_refused(rig: Rig) -> None:
    async with connect(rig) as connection:
        with pytest.raises(asyncssh.ChannelOpenError, match="this server forwards no ports"):
            await connection.open_connection("127.0.0.1", rig.server.port)
        with pytest.raises(asyncssh.ChannelOpenError, match="this server forwards no ports"):
            await connection.open_unix_connection("/run/docker.sock")
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", 1)


async def test_offering_key_after_key_ends_the_connection(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_TRIES", 3)
    words = [word for number in range(4) for word in ("-i", str(rig.make_key(f"wrong{number}")))]
    target = ("-p", str(rig.server.port), "paas@127.0.0.1", "true")
    done = await rig.call("ssh", *words, *rig.ssh_words()[1:3], *rig.ssh_words()[5:], *target)
    assert done.code == 255
    assert "too many keys were offered" in done.err or "Too many" in done.err or "disconnect" in done.err.lower()


async def test_strangers_are_bounded_and_then_forgotten(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_STRANGERS", 2)
    idle = [await asyncio.open_connection("127.0.0.1", rig.server.port) for _ in range(2)]
    for reader, _ in idle:
        assert await reader.readline() == b"SSH-2.0-OpenSSH_compatible Lockstep\r\n"
    assert (await rig.ssh("true")).code == 255
    for _, writer in idle:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(10):
        while (await rig.ssh("true")).code:
            pass


async def test_sessions_on_one_connection_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_SESSIONS", 2)
    forever = asyncio.Event()

    async def wait(words: tuple[str, ...], streams: object) -> int:
        await forever.wait()
        return 0

    rig.door.on_command = wait
    async with connect(rig) as connection:
        running = [await connection.create_process("logs") for _ in range(2)]
        with pytest.raises(asyncssh.ChannelOpenError, match="this connection has 2 sessions already"):
            await connection.create_process("logs")
        forever.set()
        assert [(await process.wait()).exit_status for process in running] == [0, 0]
        assert (await connection.run("true")).exit_status == 0


async def test_host_key_is_made_once_and_private(rig: Rig) -> None:
    path = rig.folder / "host" / "key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_host_key(path).get_fingerprint() == load_host_key(path).get_fingerprint()
    assert load_host_key(path).algorithm == b"ssh-ed25519"
    path.write_text("nonsense")
    with pytest.raises(SettingsError, match="host key"):
        load_host_key(path)


async def test_port_in_use_is_a_sentence(rig: Rig) -> None:
    taken = rig.server.port
    with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{taken}"):
        await server.start_server(
            "127.0.0.1", taken, rig.folder / "k", rig.door, rig.door, rig.door, rig.folder / "s2", rig.folder
        )


def connect(rig: Rig) -> asyncssh.misc._ACMWrapper[asyncssh.SSHClientConnection]:
    keys = [str(rig.key)]
    return asyncssh.connect(
        "127.0.0.1", rig.server.port, username="paas", client_keys=keys, known_hosts=None, config=None
    )
