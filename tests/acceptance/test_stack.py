"""The stack images and builds on them, with the real engine."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import tarfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from builder.base import host, recipes
from builder.base.debian import debian_reference
from builder.base.recipes import LABEL
from builder.image import StepFailed, build_image
from builder.model import Stack
from builder.progress import BuildEvent, BuildStory
from builder.stack import STALE_AFTER, ensure_platform, ensure_stack, remove_stale
from runtime.engine.client import Engine
from runtime.errors import BuildError, DeadlinePassed, NotFound, SourceError

pytestmark = pytest.mark.engine
MARK = f"stack-{os.getpid()}"
LABELS = {"lockstep.test": MARK}


def silent(text: str) -> None:
    """Says nothing."""


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with Engine() as engine:
        yield engine
        await clean(engine)


async def clean(engine: Engine) -> None:
    """Remove the containers and images that these tests made, and nothing else."""
    filters = {"label": [f"lockstep.test={MARK}"]}
    for container in await engine.get("/containers/json", all=True, filters=filters):
        await engine.delete(f"/containers/{container['Id']}", force=True)
    for image in await engine.get("/images/json", filters=filters):
        with suppress(NotFound):
            await engine.delete(f"/images/{image['Id']}", force=True)


@pytest.fixture
async def stack(engine: Engine) -> Stack:
    return await ensure_stack(engine, silent)


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


async def sent(files: dict[str, bytes]) -> AsyncIterator[bytes]:
    data = tar(files)
    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]


async def build(engine: Engine, dockerfile: str, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "dockerfile_path": "Dockerfile",
        "context": sent({"Dockerfile": dockerfile.encode(), "a.txt": b"hello\n"}),
        "labels": LABELS,
        "tag": None,
        "build_args": {},
        "no_cache": False,
        "deadline": 60.0,
        "report": lambda event: None,
    }
    return await build_image(engine, **{**arguments, **changes})


async def output_of(engine: Engine, image: str, command: str) -> str:
    """What a shell command prints in a container of `image`; it must succeed."""
    spec = {"Image": image, "Entrypoint": ["sh", "-ec", command], "Cmd": [], "Labels": LABELS, "Tty": True}
    made = (await engine.post("/containers/create", spec))["Id"]
    await engine.post(f"/containers/{made}/start")
    code = (await engine.post(f"/containers/{made}/wait"))["StatusCode"]
    async with engine.request("GET", f"/containers/{made}/logs", {"stdout": True, "stderr": True}) as response:
        text = (await response.read()).decode().replace("\r\n", "\n").strip()
    await engine.delete(f"/containers/{made}", force=True)
    assert code == 0, text
    return text


def processes_with(word: str) -> int:
    """How many processes of this machine have `word` in their command line."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += word.encode() in path.read_bytes()
        except OSError:
            continue
    return count


async def until(what: str, condition: Any, deadline: float = 10.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {deadline} s"
        await asyncio.sleep(0.05)


# ---- the stack ---------------------------------------------------------------------------------------------------


async def test_a_second_time_takes_no_time_and_says_nothing(engine: Engine, stack: Stack) -> None:
    said: list[str] = []
    platform = await ensure_platform(engine, said.append)
    said.clear()
    started = time.perf_counter()
    assert await ensure_stack(engine, said.append) == stack
    assert await ensure_platform(engine, said.append) == platform
    assert time.perf_counter() - started < 0.2
    assert said == []


async def test_two_at_once_agree(engine: Engine, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    first, second = await asyncio.gather(*(ensure_stack(engine, silent, lock=lock) for _ in range(2)))
    assert first == second


async def test_latest_names_the_current_image(engine: Engine, stack: Stack) -> None:
    for reference in (stack.run, stack.build, stack.static):
        name = reference.partition(":")[0]
        current = await engine.get(f"/images/{reference}/json")
        assert f"{name}:latest" in current["RepoTags"]
        assert current["Config"]["Labels"][LABEL] == name.removeprefix("lockstep/")


async def test_a_moved_latest_is_put_back(engine: Engine, stack: Stack) -> None:
    await engine.post(f"/images/{stack.run}/tag", repo="lockstep/static", tag="latest")
    await ensure_stack(engine, silent)
    assert (await engine.get("/images/lockstep/static:latest/json"))["RepoTags"].count(stack.static) == 1


async def test_run_is_slim_not_root_and_has_a_whole_python(engine: Engine, stack: Stack) -> None:
    modules = "asyncio, bz2, ctypes, curses, json, lzma, readline, sqlite3, ssl, unittest, zlib, zoneinfo"
    text = await output_of(
        engine,
        stack.run,
        f"""id -un; id -u; pwd; stat -c %U:%G /app; ls -A /app
        python3 -c 'import {modules}; print(zoneinfo.ZoneInfo("Europe/Zurich"))'
        python3 -c 'import mimetypes; print(mimetypes.guess_type("a.webp")[0])'
        python3 -c 'import ctypes; [ctypes.CDLL(x) for x in ("libpq.so.5", "libmariadb.so.3")]'
        echo $LANG; ! command -v gcc""",
    )
    assert text.splitlines() == ["app", "1000", "/app", "app:app", "Europe/Zurich", "image/webp", "C.UTF-8"]
    assert (await engine.get(f"/images/{stack.run}/json"))["Size"] < 200e6


async def test_build_has_its_tools_and_works_as_root(engine: Engine, stack: Stack) -> None:
    text = await output_of(
        engine,
        stack.build,
        """id -un; gcc -dumpversion; git --version; make --version | head -1; pkg-config --version
        pg_config --version; mariadb_config --version; uv --version; node --version; npm --version
        python3 -m venv /tmp/v && /tmp/v/bin/pip --version; test -f /usr/include/python3.11/Python.h""",
    )
    assert text.splitlines()[0] == "root"
    assert f"uv {recipes.UV.partition('==')[2]}" in text


async def test_static_and_platform_have_their_servers(engine: Engine, stack: Stack) -> None:
    assert (await output_of(engine, stack.static, "id -un; caddy version")).startswith("app\n2.")
    platform = await ensure_platform(engine, silent)
    text = await output_of(engine, platform, "id -un; caddy version; redis-server --version; ls -d -1 /config /data")
    assert text.startswith("root\n2.")
    assert "Redis server v=" in text
    assert text.endswith("/config\n/data")


async def test_the_hosts_certificates_are_in_and_its_traces_are_not(engine: Engine, stack: Stack) -> None:
    platform = await ensure_platform(engine, silent)
    script = "cat /etc/apt/sources.list; ls -A /etc/apt/sources.list.d; env | grep -i proxy || true"
    bundle = host.certificates()
    for image in (stack.run, stack.build, stack.static, platform):
        assert await output_of(engine, image, script) == recipes.SOURCES.strip()
        if bundle is not None:
            digest = await output_of(engine, image, f"sha256sum < {recipes.BUNDLE}")
            assert digest.split()[0] == hashlib.sha256(bundle).hexdigest()


async def test_stale_images_go_unless_a_container_uses_them(engine: Engine, stack: Stack) -> None:
    old, used, app = "lockstep/static:000000000000", "lockstep/static:111111111111", "lockstep/static:v1"
    for tag in (old, used, app):
        text = f"FROM {stack.run}\nLABEL {LABEL}=static\nENV NAME={tag}\n"
        await build(engine, text, tag=tag)
    await engine.post("/containers/create", {"Image": used, "Cmd": ["true"], "Labels": LABELS})
    await remove_stale(engine, stack.static, now=time.time())
    await engine.get(f"/images/{old}/json")
    await remove_stale(engine, stack.static, now=time.time() + 2 * STALE_AFTER)
    with pytest.raises(NotFound):
        await engine.get(f"/images/{old}/json")
    for kept in (used, app, stack.static):
        await engine.get(f"/images/{kept}/json")


async def test_a_base_image_that_is_nowhere_is_named_with_the_next_step(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="set base_image to a Debian image that the engine has"):
        await ensure_stack(engine, silent, base_image="localhost:1/nonesuch:1", lock=tmp_path / "lock")


async def test_the_operators_own_debian_is_built_upon(engine: Engine, stack: Stack) -> None:
    arch = (await engine.get("/version"))["Arch"]
    before = await ensure_platform(engine, silent)
    await engine.post(f"/images/{debian_reference(arch)}/tag", repo="lockstep-test/debian", tag="12")
    said: list[str] = []
    base = recipes.base("lockstep-test/debian:12", arch, host.certificates())
    platform = recipes.platform(base.reference, arch).reference
    try:
        assert await ensure_platform(engine, said.append, base_image="lockstep-test/debian:12") == platform
        assert platform != before
        assert said[0] == f"building {base.reference}"
        assert await ensure_platform(engine, said.append) == before
    finally:
        for name in ("lockstep-test/debian:12", base.reference, platform):
            await engine.delete(f"/images/{name}")
    assert (await engine.get("/images/lockstep/platform:latest/json"))["RepoTags"].count(before) == 1


# ---- builds ------------------------------------------------------------------------------------------------------


async def test_an_image_is_built_labelled_named_and_cached(engine: Engine, stack: Stack) -> None:
    tag = f"lockstep-test/{uuid.uuid4().hex}:v1"
    text = f"FROM {stack.run}\nARG WORD\nCOPY a.txt /app/\nRUN echo $WORD > /tmp/word\n"
    story = BuildStory()
    image = await build(engine, text, tag=tag, build_args={"WORD": "aha"}, story=story)
    found = await engine.get(f"/images/{tag}/json")
    assert found["Id"] == image
    assert found["Config"]["Labels"]["lockstep.test"] == MARK
    assert await output_of(engine, image, "cat a.txt /tmp/word") == "hello\naha"
    again = BuildStory()
    assert await build(engine, text, build_args={"WORD": "aha"}, story=again) == image
    assert (again.steps, again.cached) == (2, 2)


async def test_a_failing_step_ends_the_build_with_its_last_lines(engine: Engine, stack: Stack) -> None:
    events: list[BuildEvent] = []
    tag = f"lockstep-test/{uuid.uuid4().hex}:v1"
    with pytest.raises(StepFailed, match=r"step \[2/2\] RUN .* ended with exit code 7") as caught:
        await build(engine, f"FROM {stack.run}\nRUN seq 100; exit 7\n", report=events.append, tag=tag, no_cache=True)
    assert caught.value.log_tail == tuple(str(number) for number in range(61, 101))
    assert caught.value.status == 7
    assert "  100" in [event.text for event in events]
    with pytest.raises(NotFound):
        await engine.get(f"/images/{tag}/json")


@pytest.mark.parametrize("way", ["cancelled", "too late"])
async def test_an_interrupted_build_leaves_nothing_running(engine: Engine, stack: Stack, way: str) -> None:
    word = f"interrupted-{uuid.uuid4().hex}"
    tag = f"lockstep-test/{word}:v1"
    deadline = 60.0 if way == "cancelled" else 3.0
    text = f"FROM {stack.run}\nRUN : {word}; sleep 600\n"
    task = asyncio.create_task(build(engine, text, tag=tag, deadline=deadline))
    await until("the step's start", lambda: processes_with(word))
    if way == "cancelled":
        task.cancel()
    with pytest.raises(asyncio.CancelledError if way == "cancelled" else DeadlinePassed):
        await task
    await until("the step's end", lambda: not processes_with(word), deadline=5.0)
    with pytest.raises(NotFound):
        await engine.get(f"/images/{tag}/json")


async def test_a_build_is_cancelled_while_its_context_is_on_the_way(engine: Engine) -> None:
    waiting = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield tar({"a": b"x" * 100_000})[:50_000]
        waiting.set()
        await asyncio.sleep(600)

    task = asyncio.create_task(build(engine, "", context=endless()))
    await asyncio.wait_for(waiting.wait(), 10)
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()


async def test_a_context_that_breaks_off_says_why(engine: Engine) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield tar({"Dockerfile": b"FROM scratch\nCOPY a /\n", "a": b"x" * 100_000})[:50_000]
        raise SourceError("the commit is damaged")

    with pytest.raises(SourceError, match="the commit is damaged"):
        await build(engine, "", context=broken())


async def test_a_large_context_of_a_build_that_can_not_be_is_no_broken_pipe(engine: Engine) -> None:
    files = {"Dockerfile": b"NONSENSE\n", "large": bytes(64 * 1024 * 1024)}
    with pytest.raises(BuildError, match="unknown instruction: NONSENSE"):
        await build(engine, "", context=sent(files))
    with pytest.raises(BuildError, match="Dockerfile"):
        await build(engine, "", context=sent({"large": bytes(64 * 1024 * 1024)}))


async def test_what_a_build_prints_does_not_reach_the_terminal_raw(engine: Engine, stack: Stack) -> None:
    events: list[BuildEvent] = []
    text = f"FROM {stack.run}\nRUN printf '\\033]0;owned\\007\\033[2Jhi \\033[32mgreen\\n1%%\\r2%%\\r\\n'\n"
    await build(engine, text, report=events.append, no_cache=True)
    assert [event.text for event in events if event.kind == "log"] == ["  hi \x1b[32mgreen\x1b[0m", "  2%"]
