"""git push, clone and fetch through the listener, with the real git and ssh."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

from gitreceive.model import Lines, Push, RefResult
from runtime.errors import BuildError
from tests.integration.rig import Rig


async def test_push_is_accepted_and_the_ref_moves(rig: Rig) -> None:
    work = rig.work()
    done = await rig.git("push", rig.url("shop"), "main", at=work)
    head = rig.git_now("rev-parse", "HEAD", at=work)
    assert done.code == 0, done.err
    assert rig.stored("shop") == head
    [push] = rig.door.pushes
    [update] = push.updates
    assert (push.app, push.operator, push.options, push.atomic) == ("shop", rig.operator, (), False)
    assert (update.ref, update.old, update.new) == ("refs/heads/main", "0" * 40, head)


async def test_push_that_is_refused_says_why_and_moves_nothing(rig: Rig) -> None:
    async def fail(push: Push, out: Lines) -> tuple[RefResult, ...]:
        raise BuildError("build failed: pip exited with 1") from OSError("no\nspace\x1b[31m left")

    rig.door.on_push = fail
    done = await rig.git("push", rig.url("shop"), "main", at=rig.work())
    assert done.code == 1
    assert "! [remote rejected] main -> main (build failed: pip exited with 1: no space [31m left)" in done.err
    assert rig.stored("shop") is None


async def test_pushed_objects_are_readable_before_the_ref_moves(rig: Rig) -> None:
    async def look(push: Push, out: Lines) -> tuple[RefResult, ...]:
        out.write(f"kind: {rig.git_now('cat-file', '-t', push.updates[0].new, at=rig.door.repository('shop'))}")
        assert rig.stored("shop") is None
        return (RefResult(push.updates[0].ref),)

    rig.door.on_push = look
    done = await rig.git("push", rig.url("shop"), "main", at=rig.work())
    assert done.code == 0, done.err
    assert "remote: kind: commit" in done.err


async def test_lines_reach_the_client_while_the_push_still_runs(rig: Rig) -> None:
    seen = asyncio.Event()

    async def wait(push: Push, out: Lines) -> tuple[RefResult, ...]:
        out.write("-----> building\n       one\n")
        await seen.wait()
        return (RefResult(push.updates[0].ref),)

    rig.door.on_push = wait
    client = await rig.start_process("git", "-C", str(rig.work()), "push", rig.url("shop"), "main")
    assert client.stderr is not None
    async with asyncio.timeout(20):
        while b"       one" not in await client.stderr.readline():
            pass
    assert client.returncode is None
    seen.set()
    await client.communicate()
    assert client.returncode == 0


async def test_push_options_reach_the_door(rig: Rig) -> None:
    await rig.git("push", "-o", "plan", "-o", "message=grüezi mitenand", rig.url("shop"), "main", at=rig.work())
    assert rig.door.pushes[0].options == ("plan", "message=grüezi mitenand")


async def test_each_ref_gets_its_own_answer(rig: Rig) -> None:
    async def only_main(push: Push, out: Lines) -> tuple[RefResult, ...]:
        return tuple(RefResult(u.ref, None if u.ref.endswith("main") else "not today") for u in push.updates)

    rig.door.on_push = only_main
    work = rig.work()
    rig.git_now("branch", "other", at=work)
    rig.git_now("tag", "-a", "-m", "one", "v1", at=work)
    done = await rig.git("push", rig.url("shop"), "main", "other", "v1", at=work)
    assert done.code == 1
    assert "! [remote rejected] other -> other (not today)" in done.err
    assert "! [remote rejected] v1 -> v1 (not today)" in done.err
    assert rig.stored("shop") is not None
    assert rig.stored("shop", "refs/heads/other") is None


async def test_branches_and_tags_are_made_and_deleted(rig: Rig) -> None:
    work = rig.work()
    rig.git_now("tag", "v1", at=work)
    assert (await rig.git("push", rig.url("shop"), "main", "main:side", "v1", at=work)).code == 0
    assert rig.stored("shop", "refs/tags/v1") == rig.stored("shop", "refs/heads/side") == rig.stored("shop")
    assert (await rig.git("push", rig.url("shop"), ":side", ":v1", at=work)).code == 0
    assert rig.stored("shop", "refs/heads/side") is None
    assert {update.new for update in rig.door.pushes[1].updates} == {"0" * 40}


async def test_atomic_push_with_one_refusal_moves_nothing(rig: Rig) -> None:
    async def only_main(push: Push, out: Lines) -> tuple[RefResult, ...]:
        return tuple(RefResult(u.ref, None if u.ref.endswith("main") else "not today") for u in push.updates)

    rig.door.on_push = only_main
    done = await rig.git("push", "--atomic", rig.url("shop"), "main", "main:other", at=rig.work())
    assert done.code == 1
    assert rig.door.pushes[0].atomic
    assert "not today" in done.err
    assert rig.stored("shop") is None


async def test_door_that_fails_or_miscounts_refuses_every_ref(rig: Rig) -> None:
    async def crash(push: Push, out: Lines) -> tuple[RefResult, ...]:
        raise ZeroDivisionError

    async def miscount(push: Push, out: Lines) -> tuple[RefResult, ...]:
        return ()

    work = rig.work()
    for answer in (crash, miscount):
        rig.door.on_push = answer
        done = await rig.git("push", rig.url("shop"), "main", at=work)
        assert done.code == 1
        assert "(internal error, see the server's log (id " in done.err
        assert rig.stored("shop") is None


async def test_app_is_named_in_every_usual_way(rig: Rig) -> None:
    work = rig.work()
    port = f"core.sshCommand={' '.join(rig.ssh_words())} -p {rig.server.port}"
    for path in ("shop", "/shop", "shop.git", "~/shop", "/shop/"):
        done = await rig.call(
            "env", "-u", "GIT_SSH_COMMAND", "git", "-C", str(work), "-c", port, "push", f"paas@127.0.0.1:{path}", "main"
        )
        assert done.code == 0, (path, done.err)
    assert {push.app for push in rig.door.pushes} == {"shop"}
    assert len(rig.door.pushes) == 1  # the others had nothing to push


async def test_clone_and_fetch(rig: Rig) -> None:
    work = rig.work()
    await rig.git("push", rig.url("shop"), "main", at=work)
    clone = rig.folder / "clone"
    assert (await rig.git("clone", "-q", rig.url("shop"), str(clone))).code == 0
    head = rig.commit(work, more=b"more")
    await rig.git("push", rig.url("shop"), "main", at=work)
    assert (await rig.git("fetch", "-q", at=clone)).code == 0
    assert rig.git_now("rev-parse", "origin/main", at=clone) == head


async def test_clone_of_no_app_says_so(rig: Rig) -> None:
    done = await rig.git("clone", rig.url("nowhere"), str(rig.folder / "clone"))
    assert done.code == 128
    assert "lockstep: there is no app 'nowhere'" in done.err


async def test_wrong_app_name_is_a_sentence(rig: Rig) -> None:
    done = await rig.git("push", rig.url("../etc"), "main", at=rig.work())
    assert done.code == 128
    assert "'../etc' is not an app name" in done.err


async def test_large_push_arrives_whole(rig: Rig) -> None:
    content = os.urandom(100 * 1024 * 1024)
    done = await rig.git("push", "-q", rig.url("shop"), "main", at=_incompressible(rig, content))
    assert done.code == 0, done.err
    assert hashlib.sha256(rig.blob("shop", "big")).digest() == hashlib.sha256(content).digest()


async def test_large_clone_arrives_whole(rig: Rig) -> None:
    content, clone = os.urandom(20 * 1024 * 1024), rig.folder / "clone"
    await rig.git("push", "-q", rig.url("shop"), "main", at=_incompressible(rig, content))
    assert (await rig.git("clone", "-q", rig.url("shop"), str(clone))).code == 0
    assert (clone / "big").read_bytes() == content


async def test_many_pushes_at_once(rig: Rig) -> None:
    work = rig.work()
    pushes = (rig.git("push", "-q", rig.url(f"app{number}"), "main", at=work) for number in range(32))
    assert {done.code for done in await asyncio.gather(*pushes)} == {0}


async def test_large_pushes_one_after_the_other(rig: Rig) -> None:
    work = _incompressible(rig, os.urandom(4 * 1024 * 1024))
    for number in range(20):
        done = await rig.git("push", "-q", rig.url(f"app{number}"), "main", at=work)
        assert done.code == 0, done.err


def _incompressible(rig: Rig, content: bytes) -> Path:
    work = rig.folder / "work"
    work.mkdir()
    rig.git_now("init", "-q", "-b", "main", at=work)
    rig.git_now("config", "core.compression", "0", at=work)
    rig.commit(work, big=content)
    return work
