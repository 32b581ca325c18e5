"""The lock of the base images explains itself and is waited for with a limit."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from builder.base.lock import alone
from runtime.errors import BuildError, DeadlinePassed


def silent(text: str) -> None:
    """Says nothing."""


async def test_the_second_waits_says_for_whom_and_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    order: list[str] = []
    path = tmp_path / "lock"

    async def second() -> None:
        async with alone(path, said.append):
            order.append("second")

    async with alone(path, said.append):
        task = asyncio.create_task(second())
        await asyncio.sleep(0.15)
        order.append("first")
    await asyncio.wait_for(task, 5)
    assert order == ["first", "second"]
    assert said == [f"waiting for another Lockstep that builds the base images (process {os.getpid()})"]


async def test_waiting_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    async with alone(path, silent):
        with pytest.raises(DeadlinePassed, match="another process's build of the base images"):
            async with alone(path, silent, deadline=0.05):
                pytest.fail("the lock was given twice")


async def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "lock").symlink_to(elsewhere)
    with pytest.raises(BuildError, match="lock can't be opened"):
        async with alone(tmp_path / "lock", silent):
            pytest.fail("the link was followed")
    assert not elsewhere.exists()
