"""The Debian image: a stand-in for mmdebstrap on the PATH, and a small server for the engine."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from builder.base.debian import bootstrap
from runtime.errors import BuildError
from tests.unit.builder_image.fake import IMAGE, FakeEngine, engine_with

TAG = "lockstep/debian:000000000000"


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "mmdebstrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


async def test_the_tar_is_streamed_and_named_when_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "echo I: working >&2; printf tar", monkeypatch)
    fake = FakeEngine([{"status": IMAGE}])
    async with engine_with(tmp_path, fake.answer) as engine:
        await bootstrap(engine, TAG)
    assert fake.body == b"tar"
    assert fake.query == {"fromSrc": "-", "changes": "LABEL lockstep.stack=debian"}
    assert fake.asked[1:] == ["POST /images/create", f"POST /images/{IMAGE}/tag"]


async def test_a_half_made_debian_is_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "printf half; echo 'E: no mirror' >&2; exit 25", monkeypatch)
    fake = FakeEngine([{"status": IMAGE}])
    async with engine_with(tmp_path, fake.answer) as engine:
        with pytest.raises(BuildError, match=r"mmdebstrap ended with exit code 25 \(E: no mirror\): check that deb"):
            await bootstrap(engine, TAG)
    assert fake.asked[1:] == ["POST /images/create", f"DELETE /images/{IMAGE}"]


async def test_an_engine_that_refuses_the_tar_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "printf tar", monkeypatch)
    fake = FakeEngine([{"error": "no space left on device"}])
    async with engine_with(tmp_path, fake.answer) as engine:
        with pytest.raises(BuildError, match="did not take the Debian image: no space left on device"):
            await bootstrap(engine, TAG)


async def test_cancelling_ends_mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600", monkeypatch)
    pid = tmp_path / "pid"
    async with engine_with(tmp_path, FakeEngine([]).answer) as engine:
        task = asyncio.create_task(bootstrap(engine, TAG))
        async with asyncio.timeout(10):
            while not pid.exists() or not pid.read_text().strip():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
