"""The kept story of a deploy: on disk at once, bounded, followed while it grows."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from runtime import deploylog
from runtime.deploylog import DeployLogs


def test_lines_are_on_disk_as_soon_as_they_are_written(tmp_path: Path) -> None:
    logs = DeployLogs(tmp_path)
    with logs.open("shop", 7) as log:
        log.write("-----> Building ü")
        assert logs.path("shop", 7).read_text() == "-----> Building ü\n"
    assert logs.path("shop", 7) == tmp_path / "deploys/shop/7.log"


def test_log_that_is_opened_again_goes_on(tmp_path: Path) -> None:
    logs = DeployLogs(tmp_path)
    for line in ("one", "two"):
        with logs.open("shop", 7) as log:
            log.write(line)
    assert logs.path("shop", 7).read_text() == "one\ntwo\n"


def test_long_log_keeps_its_head_and_its_end_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploylog, "LIMIT", 10)
    monkeypatch.setattr(deploylog, "END_LIMIT", 9)
    logs = DeployLogs(tmp_path)
    with logs.open("shop", 7) as log:
        for number in range(1, 8):
            log.write(f"000{number}")
    assert logs.path("shop", 7).read_text() == f"0001\n0002\n{deploylog.CUT}\n0006\n0007\n"


def test_log_just_over_its_limit_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploylog, "LIMIT", 5)
    logs = DeployLogs(tmp_path)
    with logs.open("shop", 7) as log:
        for line in ("1234", "5678"):
            log.write(line)
    assert logs.path("shop", 7).read_text() == "1234\n5678\n"


async def test_follower_gets_what_is_there_and_what_comes(tmp_path: Path) -> None:
    logs = DeployLogs(tmp_path)
    heard: list[bytes] = []

    async def follow() -> None:
        heard.extend([chunk async for chunk in logs.follow("shop", 7)])

    with logs.open("shop", 7) as log:
        log.write("one")
        following = asyncio.create_task(follow())
        await asyncio.sleep(0)
        for line in ("two", "three"):
            log.write(line)
            await asyncio.sleep(0)
        assert not following.done()
    await asyncio.wait_for(following, 5)
    assert b"".join(heard) == b"one\ntwo\nthree\n"


async def test_log_of_an_ended_deploy_is_read_to_its_end(tmp_path: Path) -> None:
    logs = DeployLogs(tmp_path)
    with logs.open("shop", 7) as log:
        log.write("one")
    assert b"".join([chunk async for chunk in logs.follow("shop", 7)]) == b"one\n"


async def test_log_that_is_not_there_is_an_error_and_not_empty(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _ = [chunk async for chunk in DeployLogs(tmp_path).follow("shop", 7)]
