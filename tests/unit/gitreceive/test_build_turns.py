"""Builds of different apps take turns, and who waits for one can be sent away, without an engine."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gitreceive import push
from runtime.errors import BuildError, DeployError, LockstepError
from runtime.model import DeployState
from runtime.story import Story
from runtime.waiting import ticks
from tests.unit.gitreceive.desk import Office

DEADLINE = 10.0  # seconds


class Site:
    """Builds that go on until they are let fail."""

    def __init__(self) -> None:
        self.building: list[str] = []
        self.over = asyncio.Event()

    async def build(self, engine: Any, stack: Any, order: Any, story: Story, heard: Any) -> Any:
        self.building.append(order.app)
        await self.over.wait()
        raise BuildError("nothing is built here")


@pytest.fixture
async def site(office: Office, monkeypatch: pytest.MonkeyPatch) -> Site:
    found = Site()
    monkeypatch.setattr(push, "build_commit", found.build)
    monkeypatch.setattr(office.pushes.turns, "_limit", 1)
    office.parts.fleet.engine = None  # type: ignore[assignment]
    for app in ("shop", "blog"):
        office.add_app(app, 1, live=1)
    return found


def rebuild(office: Office, app: str) -> tuple[asyncio.Task[None], list[str]]:
    told: list[str] = []
    return asyncio.create_task(office.pushes.rebuild(app, "anna", Story(told.append), no_cache=False)), told


async def until(condition: Any) -> None:
    deadline = ticks() + DEADLINE
    while not condition():
        assert ticks() < deadline
        await asyncio.sleep(0.01)


def states(office: Office) -> dict[str, DeployState]:
    with office.store.read() as tx:
        return {deploy.app: deploy.state for app in ("shop", "blog") for deploy in tx.deploys.of(app)}


async def test_the_second_app_waits_for_the_first(office: Office, site: Site) -> None:
    first, _ = rebuild(office, "shop")
    await until(lambda: site.building)
    second, told = rebuild(office, "blog")
    await until(lambda: told)
    assert told == [
        "-----> Waiting to build: shop builds (deploy 1 of anna, begun 0 s ago)",
        "       place 1 of 1 in the line",
    ]
    assert site.building == ["shop"]
    site.over.set()
    for task in (first, second):
        with pytest.raises(DeployError, match="nothing is built here"):
            await task
    assert site.building == ["shop", "blog"]
    assert states(office) == {"shop": DeployState.FAILED, "blog": DeployState.FAILED}


@pytest.mark.parametrize("by_command", [True, False])
async def test_one_that_waits_is_cancelled_and_leaves_nothing(office: Office, site: Site, *, by_command: bool) -> None:
    first, _ = rebuild(office, "shop")
    await until(lambda: site.building)
    second, told = rebuild(office, "blog")
    await until(lambda: told)
    if by_command:
        assert (await office.run("deploys:cancel", "blog")).code == 0
        with pytest.raises(LockstepError, match="deploy 2 was cancelled by anna"):
            await second
    else:
        second.cancel()  # its client went away
        await asyncio.gather(second, return_exceptions=True)
    assert states(office) == {"shop": DeployState.BUILDING, "blog": DeployState.CANCELLED}
    assert office.pushes.turns.waiting == ()
    site.over.set()
    await asyncio.gather(first, return_exceptions=True)
    assert (site.building, office.pushes.turns.building) == (["shop"], ())
