"""One deploy at a time for each app: handing over, giving up, being overtaken."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from runtime.errors import DeadlinePassed
from runtime.locks import AppLocks, Locked, Superseded
from runtime.model import Deploy
from runtime.story import Story
from tests.unit.runtime.samples import NOW, deploy

FIRST, SECOND, THIRD = (deploy(number, who=who) for number, who in ((1, "anna"), (2, "bert"), (3, "cleo")))


class Crowd:
    """Deploys that hold and wait, each as a task that holds until it is let go."""

    def __init__(self) -> None:
        self.locks = AppLocks()
        self.held: list[int] = []
        self.told: list[str] = []
        self._let_go: dict[int, asyncio.Event] = {}

    async def hold(self, deploy: Deploy, *, wait: float = 600.0) -> None:
        self._let_go[deploy.id] = asyncio.Event()
        async with self.locks.hold(deploy, Story(self.told.append), wait=wait, now=NOW + timedelta(seconds=5)):
            self.held.append(deploy.id)
            await self._let_go[deploy.id].wait()

    def start(self, deploy: Deploy, *, wait: float = 600.0) -> asyncio.Task[None]:
        return asyncio.create_task(self.hold(deploy, wait=wait))

    def let_go(self, deploy: Deploy) -> None:
        self._let_go[deploy.id].set()

    async def until_handed_over(self, holder: Deploy) -> None:
        """Return in the turn of the loop in which `holder` has let go."""
        for _ in range(100):
            if self.locks.holder(holder.app) != holder:
                return
            await asyncio.sleep(0)
        raise AssertionError(f"deploy {holder.id} holds on")


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def crowd(*deploys: Deploy) -> AsyncIterator[tuple[Crowd, list[asyncio.Task[None]]]]:
    """The first of `deploys` holds, the others wait in their order."""
    found = Crowd()
    tasks = []
    for one in deploys:
        tasks.append(found.start(one))
        await settle()
    yield found, tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not found.locks.held("shop")


async def test_free_lock_is_held_at_once_and_let_go() -> None:
    locks = AppLocks()
    async with locks.hold(FIRST, Story(pytest.fail), wait=0, now=NOW):
        assert locks.holder("shop") == FIRST
        assert not locks.held("blog")
    assert not locks.held("shop")


async def test_failure_of_the_holder_lets_go() -> None:
    locks = AppLocks()
    with pytest.raises(ValueError, match="no"):
        async with locks.hold(FIRST, Story(pytest.fail), wait=0, now=NOW):
            raise ValueError("no")
    assert not locks.held("shop")


async def test_apps_do_not_wait_for_one_another() -> None:
    async with crowd(FIRST, deploy(2, app="blog")) as (found, _):
        assert found.held == [1, 2]


async def test_waiter_is_told_for_whom_and_holds_next() -> None:
    async with crowd(FIRST, SECOND) as (found, _):
        assert found.told == ["-----> Waiting for deploy 1 of anna, begun 5 s ago"]
        assert found.held == [1]
        found.let_go(FIRST)
        await settle()
        assert found.held == [1, 2]
        assert found.locks.holder("shop") == SECOND


async def test_lock_is_handed_over_without_a_free_moment() -> None:
    """Between the holder's end and the waiter's next step nobody else can slip in."""
    async with crowd(FIRST, SECOND) as (found, _):
        found.let_go(FIRST)
        await found.until_handed_over(FIRST)
        assert found.locks.holder("shop") == SECOND  # though its task has not gone on yet
        assert found.held == [1]
        async with found.locks.quietly("shop") as free:
            assert not free
        with pytest.raises(Locked):
            await found.hold(THIRD, wait=0)
        await settle()
        assert found.held == [1, 2]


async def test_newer_push_supersedes_the_one_that_waits() -> None:
    async with crowd(FIRST, SECOND, THIRD) as (found, tasks):
        with pytest.raises(Superseded, match="superseded by the newer deploy 3 of cleo"):
            await tasks[1]
        found.let_go(FIRST)
        await settle()
        assert found.held == [1, 3]


async def test_holder_is_not_superseded() -> None:
    async with crowd(FIRST, SECOND) as (_, tasks):
        assert not tasks[0].done()


async def test_only_pushes_supersede_pushes() -> None:
    """A config change that waits is not lost to a push, and a push is not lost to a config change."""
    config, rollback = deploy(2, kind="config"), deploy(4, kind="rollback")
    async with crowd(FIRST, config, THIRD, rollback) as (found, tasks):
        assert not any(task.done() for task in tasks)
        for one in (FIRST, config, THIRD, rollback):
            found.let_go(one)
            await settle()
        assert found.held == [1, 2, 3, 4]


async def test_not_waiting_says_who_holds() -> None:
    async with crowd(FIRST) as (found, _):
        with pytest.raises(Locked, match="shop is locked by deploy 1 of anna, begun 5 s ago: push again"):
            await found.hold(SECOND, wait=0)


async def test_deadline_names_the_holder_and_leaves_nothing() -> None:
    async with crowd(FIRST) as (found, _):
        with pytest.raises(DeadlinePassed, match="the end of deploy 1 of anna, begun 5 s ago did not happen within"):
            await found.hold(SECOND, wait=0.01)
        found.let_go(FIRST)
        await settle()
        assert not found.locks.held("shop")


async def test_cancelled_waiter_leaves_nothing() -> None:
    async with crowd(FIRST, SECOND) as (found, tasks):
        tasks[1].cancel()
        await settle()
        assert tasks[1].cancelled()
        found.let_go(FIRST)
        await settle()
        assert not found.locks.held("shop")


async def test_waiter_cancelled_as_the_lock_is_handed_over_passes_it_on() -> None:
    async with crowd(FIRST, deploy(2, kind="config"), deploy(3, kind="config")) as (found, tasks):
        found.let_go(FIRST)
        await found.until_handed_over(FIRST)
        tasks[1].cancel()
        await settle()
        assert tasks[1].cancelled()
        assert found.held == [1, 3]


async def test_deadline_in_the_moment_of_the_hand_over_passes_it_on() -> None:
    """The waiter's time is up in the same turn of the loop in which the holder lets go."""
    locks = AppLocks()
    async with locks.hold(FIRST, Story(pytest.fail), wait=0, now=NOW):
        waiting = asyncio.create_task(_hold_and_end(locks, SECOND, wait=0.01))
        await settle()
        time.sleep(0.02)  # noqa: ASYNC251 - the deadline is due, and the loop has not seen it
        await asyncio.sleep(0)
    with suppress(DeadlinePassed):
        await waiting
    assert not locks.held("shop")


async def _hold_and_end(locks: AppLocks, deploy: Deploy, *, wait: float) -> None:
    async with locks.hold(deploy, Story(lambda _: None), wait=wait, now=NOW):
        pass


async def test_holding_quietly_takes_only_a_free_lock() -> None:
    locks = AppLocks()
    async with locks.quietly("shop") as free:
        assert free
        async with locks.quietly("shop") as again:
            assert not again
        assert locks.held("shop")
    assert not locks.held("shop")


async def test_deploy_waits_for_the_reconciler() -> None:
    found = Crowd()
    async with found.locks.quietly("shop"):
        task = found.start(FIRST)
        await settle()
        assert found.told == ["-----> Waiting for the reconciler"]
    await settle()
    assert found.held == [1]
    found.let_go(FIRST)
    await task


@pytest.mark.parametrize("seed", range(20))
async def test_crowd_never_shares_and_never_sticks(seed: int) -> None:
    """Many come, wait, give up and are cancelled: one holds at a time, and at the end nobody does."""
    dice = random.Random(seed)
    locks, inside, worst = AppLocks(), 0, 0

    async def work(number: int) -> None:
        nonlocal inside, worst
        kind = dice.choice(("push", "config"))
        async with locks.hold(deploy(number, kind=kind), Story(lambda _: None), wait=dice.choice((0, 600)), now=NOW):
            inside += 1
            worst = max(worst, inside)
            try:
                for _ in range(dice.randint(0, 3)):
                    await asyncio.sleep(0)
            finally:
                inside -= 1

    await _stir(work, dice)
    assert worst <= 1
    assert not locks.held("shop")


async def _stir(work: Callable[[int], Awaitable[None]], dice: random.Random) -> None:
    tasks: list[asyncio.Future[None]] = []
    for number in range(40):
        tasks.append(asyncio.ensure_future(work(number)))
        for _ in range(dice.randint(0, 2)):
            await asyncio.sleep(0)
        if dice.random() < 0.3:
            dice.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_command_waits_for_the_reconciler_and_not_for_a_deploy() -> None:
    locks = AppLocks()
    let_go = asyncio.Event()

    async def reconcile() -> None:
        async with locks.quietly("shop"):
            await let_go.wait()

    async def command(wait: float) -> bool:
        async with locks.soon("shop", wait) as free:
            return free

    reconciler = asyncio.create_task(reconcile())
    await settle()
    assert not await command(0.0)
    waiting = asyncio.create_task(command(60.0))
    await settle()
    assert not waiting.done()
    let_go.set()
    assert await waiting
    await reconciler
    async with crowd(FIRST) as (found, _), found.locks.soon("shop", 60.0) as free:
        assert not free
