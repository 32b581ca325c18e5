"""The hook and its socket: whatever goes wrong between them, no ref moves."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
from pathlib import Path

import pytest

from gitreceive.hooksocket import HookSocket
from gitreceive.model import Lines, Push, RefResult
from tests.integration.rig import HOOKS, Door, Rig

UPDATE = {"ref": "refs/heads/main", "old": "0" * 40, "new": "1" * 40}


def packet(text: str) -> bytes:
    return b"%04x" % (len(text.encode()) + 4) + text.encode()


def run_hook(socket: Path, token: str, *refs: str) -> subprocess.CompletedProcess[bytes]:
    """Run the hook as git does."""
    updates = b"".join(packet(f"{'0' * 40} {'1' * 40} {ref}") for ref in refs)
    asked = packet("version=1\0push-options atomic") + b"0000" + updates + b"0000" + packet("plan") + b"0000"
    env = {"PATH": "/usr/bin:/bin", "LOCKSTEP_HOOK_SOCKET": str(socket), "LOCKSTEP_HOOK_TOKEN": token}
    return subprocess.run((HOOKS / "proc-receive",), input=asked, env=env, capture_output=True, check=True, timeout=30)


async def ask(socket: Path, request: object) -> list[dict[str, object]]:
    """Speak to the socket without the hook; all its answers."""
    reader, writer = await asyncio.open_unix_connection(socket)
    writer.write(json.dumps(request).encode() + b"\n")
    answers = [json.loads(line) for line in (await reader.read()).splitlines()]
    writer.close()
    await writer.wait_closed()
    return answers


def request_of(token: str) -> dict[str, object]:
    return {"token": token, "updates": [UPDATE], "options": [], "atomic": False}


def results_of(answers: list[dict[str, object]]) -> list[object]:
    return [answer["results"] for answer in answers if "results" in answer]


async def test_socket_is_for_its_owner_only(rig: Rig) -> None:
    socket = rig.folder / "sock" / "hook.sock"
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700


async def test_token_works_once(rig: Rig) -> None:
    hooks = HookSocket(rig.folder / "other", rig.door)
    await hooks.start()
    ticket = hooks.issue("shop", rig.operator)
    first, second = [await ask(hooks.path, request_of(ticket.token)) for _ in range(2)]
    assert results_of(first) == [[{"ref": "refs/heads/main", "error": None, "moved": False, "instead": None}]]
    assert results_of(second) == []
    assert "not known to the server" in str(second[0]["line"])
    await hooks.close()


@pytest.mark.parametrize(
    "request_",
    [
        request_of("forged"),
        {},
        [],
        "text",
        {"token": None, "updates": [], "options": []},
        {"token": {}, "updates": [UPDATE], "options": []},
    ],
)
async def test_forged_and_broken_requests_get_no_results(rig: Rig, request_: object) -> None:
    answers = await ask(rig.folder / "sock" / "hook.sock", request_)
    assert results_of(answers) == []
    assert not rig.door.pushes


async def test_request_without_updates_does_not_reach_the_door(rig: Rig) -> None:
    hooks = HookSocket(rig.folder / "other", rig.door)
    await hooks.start()
    some: tuple[dict[str, object], ...] = (
        {"updates": []},
        {"updates": "x"},
        {"updates": [{"ref": 1}]},
        {"options": [1]},
        {"options": None},
    )
    for broken in some:
        token = hooks.issue("shop", rig.operator).token
        assert results_of(await ask(hooks.path, request_of(token) | broken)) == []
    assert not rig.door.pushes
    await hooks.close()


async def test_token_dies_with_its_session(rig: Rig) -> None:
    hooks = HookSocket(rig.folder / "other", rig.door)
    await hooks.start()
    ticket = hooks.issue("shop", rig.operator)
    await hooks.withdraw(ticket)
    assert results_of(await ask(hooks.path, request_of(ticket.token))) == []
    await hooks.close()


async def test_hook_that_goes_away_cancels_the_push(rig: Rig) -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def hang(push: Push, out: Lines) -> tuple[RefResult, ...]:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return ()

    rig.door.on_push = hang
    hooks = HookSocket(rig.folder / "other", rig.door)
    await hooks.start()
    _, writer = await asyncio.open_unix_connection(hooks.path)
    writer.write(json.dumps(request_of(hooks.issue("shop", rig.operator).token)).encode() + b"\n")
    async with asyncio.timeout(10):
        await started.wait()
        writer.close()
        await cancelled.wait()
    await hooks.close()


def test_hook_without_a_server_refuses_every_ref(tmp_path: Path) -> None:
    done = run_hook(tmp_path / "nobody.sock", "token", "refs/heads/main", "refs/tags/v1")
    assert b"ng refs/heads/main the server went away" in done.stdout
    assert b"ng refs/tags/v1 the server went away" in done.stdout
    assert b"\0push-options atomic" in done.stdout
    assert b"ok " not in done.stdout


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"not json\n",
        b"[]\n",
        b"{}\n",
        b'{"results": null}\n',
        b'{"results": [{}]}\n',
        b'{"results": []}\n',
        b'{"results": [{"ref": "refs/heads/other", "error": null}]}\n',
        b'{"results": [{"ref": "refs/heads/main", "error": ""}]}\n',
        b'{"line": "cut o',
    ],
)
async def test_hook_takes_no_odd_answer_for_a_yes(tmp_path: Path, answer: bytes) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(reply, tmp_path / "s")
    done = await asyncio.to_thread(run_hook, tmp_path / "s", "token", "refs/heads/main")
    server.close()
    assert b"ng refs/heads/main " in done.stdout
    assert b"fall-through" not in done.stdout


async def test_hook_makes_a_reason_one_short_line(tmp_path: Path) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        reason = "one\ntwo\x1b[2Jthree " + "x" * 5000
        writer.write(json.dumps({"results": [{"ref": "refs/heads/main", "error": reason}]}).encode() + b"\n")
        writer.close()

    server = await asyncio.start_unix_server(reply, tmp_path / "s")
    done = await asyncio.to_thread(run_hook, tmp_path / "s", "token", "refs/heads/main")
    server.close()
    assert b"ng refs/heads/main one two [2Jthree xxx" in done.stdout
    assert len(done.stdout) < 600


async def test_slow_client_loses_lines_not_the_servers_memory(rig: Rig) -> None:
    async def chatter(push: Push, out: Lines) -> tuple[RefResult, ...]:
        for _ in range(200):
            out.write("x" * 100_000)
        return (RefResult(push.updates[0].ref),)

    rig.door.on_push = chatter
    hooks = HookSocket(rig.folder / "other", rig.door)
    await hooks.start()
    answers = await ask(hooks.path, request_of(hooks.issue("shop", rig.operator).token))
    assert "lines left out" in str(answers[-2]["line"])
    assert len(results_of(answers)) == 1
    await hooks.close()


async def test_server_that_dies_in_mid_push_moves_nothing(rig: Rig) -> None:
    async def vanish(push: Push, out: Lines) -> tuple[RefResult, ...]:
        raise asyncio.CancelledError

    rig.door.on_push = vanish
    done = await rig.git("push", rig.url("shop"), "main", at=rig.work())
    assert done.code == 1
    assert "! [remote rejected] main -> main (the server went away before it answered; push again)" in done.err
    assert rig.stored("shop") is None


async def test_missing_hook_refuses_the_push(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.integration.rig.HOOKS", rig.folder / "nohooks")
    await rig.server.close(0.0)
    await rig.start()
    done = await rig.git("push", rig.url("shop"), "main", at=rig.work())
    assert done.code == 1
    assert "fail to run proc-receive hook" in done.err
    assert rig.stored("shop") is None


async def test_path_that_is_too_long_for_a_socket_is_a_sentence(tmp_path: Path) -> None:
    hooks = HookSocket(tmp_path / ("x" * 120), Door(tmp_path))
    with pytest.raises(Exception, match="too long for a socket"):
        await hooks.start()
