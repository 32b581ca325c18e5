"""Builds of all apps: how many run at once, who is next, giving up, and nothing left behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from runtime.errors import DeadlinePassed
from runtime.model import Deploy
from runtime.story import Story
from runtime.turns import BuildTurns
from tests.unit.runtime.samples import NOW, deploy


def of(*builds: str) -> list[Deploy]:
    """One deploy for each app named, numbered as they come."""
    return [deploy(number, app=app, who="anna") for number, app in enumerate(builds, 1)]


class Yard:
    """Builds as tasks, each of which goes on until it is ended."""

    def __init__(self, limit: int) -> None:
        self.turns = BuildTurns(limit)
        self.began: list[int] = []
        self.told: dict[int, list[str]] = {}
        self.most = 0
        self.tasks: dict[int, asyncio.Task[None]] = {}
        self._ends: dict[int, asyncio.Event] = {}

    async def come(self, build: Deploy, wait: float = 600.0) -> None:
        self._ends[build.id] = asyncio.Event()
        self.told[build.id] = []
        self.tasks[build.id] = asyncio.create_task(self._build(build, wait))
        await settle()

    async def end(self, number: int) -> None:
        self._ends[number].set()
        await settle()

    async def run_dry(self) -> None:
        while self.turns.building:
            await self.end(self.turns.building[0].id)

    async def until_handed_over(self, number: int) -> None:
        """Return in the turn of the loop in which this build has ended."""
        for _ in range(100):
            if number not in [build.id for build in self.turns.building]:
                return
            await asyncio.sleep(0)
        raise AssertionError(f"build {number} goes on")

    async def _build(self, build: Deploy, wait: float) -> None:
        story = Story(self.told[build.id].append)
        async with self.turns.turn(build, story, wait=wait, now=NOW + timedelta(seconds=5)):
            self.began.append(build.id)
            self.most = max(self.most, len(self.turns.building))
            await self._ends[build.id].wait()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def yard(limit: int, *builds: Deploy) -> AsyncIterator[Yard]:
    """The builds have come one after the other; at the end all are cancelled and nothing must be left."""
    found = Yard(limit)
    for build in builds:
        await found.come(build)
    yield found
    for task in found.tasks.values():
        task.cancel()
    await asyncio.gather(*found.tasks.values(), return_exceptions=True)
    assert (found.turns.building, found.turns.waiting) == ((), ())


async def test_as_many_as_allowed_build_at_once_and_no_more() -> None:
    async with yard(2, *of("shop", "blog", "wiki")) as found:
        assert found.began == [1, 2]
        assert [build.id for build in found.turns.waiting] == [3]
        await found.end(2)
        assert found.began == [1, 2, 3]
    assert found.most == 2


async def test_who_builds_and_the_place_are_said_once() -> None:
    async with yard(1, *of("shop", "blog", "wiki")) as found:
        await found.end(1)
        assert found.told == {
            1: [],
            2: [
                "-----> Waiting to build: shop builds (deploy 1 of anna, begun 5 s ago)",
                "       place 1 of 1 in the line",
            ],
            3: [
                "-----> Waiting to build: shop builds (deploy 1 of anna, begun 5 s ago)",
                "       place 2 of 2 in the line",
            ],
        }


async def test_one_app_with_many_builds_does_not_starve_another() -> None:
    async with yard(1, *of("shop", "shop", "shop", "shop", "blog", "shop", "blog", "wiki")) as found:
        foreseen = [build.id for build in found.turns.waiting]
        await found.run_dry()
        assert found.began == [1, 2, 5, 8, 3, 7, 4, 6]
        assert foreseen == found.began[1:]


async def test_an_app_that_comes_again_goes_behind_all_that_wait() -> None:
    first, second, again, third = of("shop", "blog", "shop", "wiki")
    async with yard(1, first, second) as found:
        await found.end(1)
        await found.come(again)
        await found.come(third)
        await found.end(2)
        await found.come(deploy(5, app="blog"))
        await found.run_dry()
        assert found.began == [1, 2, 3, 4, 5]


async def test_one_that_gives_up_leaves_the_line() -> None:
    async with yard(1, *of("shop", "blog", "wiki")) as found:
        found.tasks[2].cancel()
        await settle()
        assert [build.id for build in found.turns.waiting] == [3]
        await found.run_dry()
        assert found.began == [1, 3]


async def test_one_that_is_cancelled_while_it_builds_makes_room() -> None:
    async with yard(1, *of("shop", "blog")) as found:
        found.tasks[1].cancel()
        await settle()
        assert found.began == [1, 2]


async def test_a_turn_given_to_one_that_gives_up_in_the_same_moment_goes_on() -> None:
    for late in (False, True):
        async with yard(1, *of("shop", "blog", "wiki")) as found:
            if late:
                found._ends[1].set()
                await found.until_handed_over(1)  # 2 has its turn and has not run yet
                found.tasks[2].cancel()
            else:
                found.tasks[2].cancel()
                found.tasks[1].cancel()
            await settle()
            assert [build.id for build in found.turns.building] == [3]


async def test_waiting_ends_with_its_name() -> None:
    async with yard(1, *of("shop")) as found:
        await found.come(deploy(2, app="blog"), wait=0.01)
        with pytest.raises(DeadlinePassed, match=r"a turn to build blog did not happen within 0\.01 s"):
            await found.tasks[2]
        assert found.turns.waiting == ()


@pytest.mark.parametrize("seed", range(30))
async def test_whatever_happens_the_limit_holds_and_nobody_is_forgotten(seed: int) -> None:
    chance = random.Random(seed)
    limit = chance.randint(1, 3)
    async with yard(limit) as found:
        for number in range(1, 40):
            await found.come(deploy(number, app=chance.choice(("shop", "blog", "wiki"))))
            known = [build.id for build in (*found.turns.building, *found.turns.waiting)]
            fate, chosen = chance.random(), chance.choice(known)
            if fate < 0.2:
                found.tasks[chosen].cancel()
            elif fate < 0.6:
                await found.end(chosen)
            if chance.random() < 0.5:
                await settle()
            assert len(found.turns.building) <= limit
            assert not found.turns.waiting or len(found.turns.building) == limit
        await found.run_dry()
        assert all(task.done() for task in found.tasks.values())
    assert found.most == limit
