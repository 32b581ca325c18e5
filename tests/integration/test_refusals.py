"""Pushes that are refused before the door hears of them: broken objects, shallow clones, too much."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.rig import Rig


@pytest.fixture
async def pushed(rig: Rig) -> AsyncIterator[tuple[Rig, Path, str]]:
    """A work tree whose first commit is with the server."""
    work = rig.work()
    await rig.git("push", rig.url("shop"), "main", at=work)
    rig.door.pushes.clear()
    head = rig.stored("shop")
    assert head is not None
    yield rig, work, head
    assert rig.stored("shop") == head
    assert not rig.door.pushes


def write_object(work: Path, kind: bytes, content: bytes) -> str:
    """Put an object into the repository that git's own commands would not make."""
    data = kind + b" %d\0" % len(content) + content
    name = hashlib.sha1(data).hexdigest()  # noqa: S324  (git's own)
    path = work / ".git" / "objects" / name[:2] / name[2:]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zlib.compress(data))
    return name


def commit_tree(rig: Rig, work: Path, *entries: tuple[bytes, bytes], date: bytes = b"1700000000 +0000") -> str:
    """Make main a commit of a tree with these (mode, name), each a blob or, for mode 40000, that tree."""
    blob = rig.git_now("hash-object", "-w", "--stdin", at=work, stdin=b"text")
    tree = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(blob) for mode, name in entries)
    who = b"Ada <ada@example.org> " + date
    parent = rig.git_now("rev-parse", "HEAD", at=work).encode()
    text = b"tree %b\nparent %b\nauthor %b\ncommitter %b\n\nodd\n"
    commit = text % (write_object(work, b"tree", tree).encode(), parent, who, who)
    name = write_object(work, b"commit", commit)
    rig.git_now("update-ref", "refs/heads/main", name, at=work)
    return name


@pytest.mark.parametrize("name", [b".git", b"..", b".GIT", b"a/b", b"git~1"])
async def test_tree_that_could_fool_a_checkout_is_refused(pushed: tuple[Rig, Path, str], name: bytes) -> None:
    rig, work, _ = pushed
    commit_tree(rig, work, (b"100644", name))
    done = await rig.git("push", rig.url("shop"), "main", at=work)
    assert done.code == 1
    assert "! [remote rejected] main -> main (unpacker error)" in done.err


async def test_shallow_clone_is_refused_with_the_way_out(rig: Rig) -> None:
    work, shallow = rig.work(), rig.folder / "shallow"
    rig.commit(work, two=b"2")
    await rig.git("clone", "-q", "--depth=1", f"file://{work}", str(shallow))
    done = await rig.git("push", rig.url("shop"), "main", at=shallow)
    assert done.code == 1
    assert not rig.door.pushes
    assert rig.stored("shop") is None
    assert "! [remote rejected] main -> main (shallow update not allowed)" in done.err
    assert "lockstep: this clone is shallow" in done.err
    assert "git fetch --unshallow" in done.err


@pytest.mark.parametrize("files", [1, 200])  # few objects are unpacked, many kept as a pack
async def test_push_that_is_too_large_is_refused_with_a_sentence(files: int, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    rig = Rig(folder)
    await rig.start(max_push=1024 * 1024)
    try:
        work = rig.work(**{f"f{number}": os.urandom(3 * 1024 * 1024 // files) for number in range(files)})
        done = await rig.git("push", rig.url("shop"), "main", at=work)
    finally:
        await rig.server.close(0.0)
    assert done.code == 1
    assert "remote: fatal: pack exceeds maximum allowed size" in done.err
    assert "lockstep: the push is larger than this server takes" in done.err
    assert not rig.door.pushes


async def test_old_histories_flaws_are_forgiven(rig: Rig) -> None:
    work = rig.work()
    name = commit_tree(rig, work, (b"0100644", b"padded"), date=b"1700000000 +051800")
    done = await rig.git("push", rig.url("shop"), "main", at=work)
    assert done.code == 0, done.err
    assert rig.stored("shop") == name


async def test_configuration_of_host_and_client_does_not_count(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = rig.folder / "evil"
    evil.write_text("[receive]\n\tprocReceiveRefs = refs/nothing\n[core]\n\thooksPath = /nonexistent\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(evil))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.hooksPath=/nonexistent'")
    command = " ".join((*rig.ssh_words("SetEnv=GIT_CONFIG_PARAMETERS='core.hooksPath=/nonexistent'"),))
    work = rig.work()
    done = await rig.call("env", f"GIT_SSH_COMMAND={command}", "git", "-C", str(work), "push", rig.url("shop"), "main")
    assert done.code == 0, done.err
    assert len(rig.door.pushes) == 1
