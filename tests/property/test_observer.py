"""The proofs are worth what the observer sees: with a promise broken on purpose, each must fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runtime.converge import Converger
from runtime.deployer import Outcome
from runtime.engine.fleet import Fleet
from runtime.model import ProcessKind
from runtime.reconcile import Reconciler
from runtime.release import Cutover
from runtime.store.apps import Apps
from tests.contract.fates import Fate, Fates
from tests.property.plant import Plant
from tests.property.test_release_sweep import BAD, GOOD, HOOK, OLD


@pytest.fixture
def plant() -> Iterator[Plant]:
    found = Plant()
    found.start_server()
    assert isinstance(found.deploy(*OLD), Outcome)
    yield found
    found.close()


async def nothing(*_: Any, **__: Any) -> list[str]:
    return []


def verdict(plant: Plant) -> str:
    """What the checks say, in their first line."""
    with pytest.raises(AssertionError) as caught:
        plant.check_moments()
        plant.recover()
        plant.check()
    return str(caught.value).splitlines()[0]


def test_old_workers_that_are_not_stopped(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fleet, "stop", nothing)
    plant.deploy(*GOOD)
    assert "two releases of shop are active" in verdict(plant)


def test_stop_that_does_not_wait(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scale_only(fleet: Fleet, services: list[Any]) -> None:
        for service in services:
            await fleet.scale(await fleet.service(service.id), 0)

    monkeypatch.setattr(Fleet, "stop", scale_only)
    plant.deploy(*GOOD)
    assert "two releases of shop are active" in verdict(plant)


def test_cron_that_is_not_held(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Apps, "hold", lambda *_: None)
    plant.deploy(*GOOD)
    assert "two releases of shop are active" in verdict(plant)


def test_undoing_that_starts_workers_before_the_requests_are_back(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of convergence, as it was once."""
    ensure, route = Converger._ensure, Converger._route

    async def ensure_all(self: Converger, release: Any, kind: ProcessKind) -> list[str]:
        return await ensure(self, release, ProcessKind.WEB) + await ensure(self, release, ProcessKind.WORKER)

    monkeypatch.setattr(Converger, "_ensure", ensure_all)
    monkeypatch.setattr(Converger, "_route", route)
    plant.deploy(*BAD)
    assert "two releases of shop are active" in verdict(plant)


def test_undoing_that_does_nothing(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cutover, "undo", nothing)
    monkeypatch.setattr(Reconciler, "_left_over", lambda *_: [])
    plant.deploy(*BAD)
    assert verdict(plant) == "a deploy has not ended"


def test_retirement_that_leaves_the_old_services(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Converger, "_remove_others", nothing)
    plant.deploy(*GOOD)
    assert verdict(plant).startswith("services are")


def test_switch_that_does_not_switch(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cutover, "switch", nothing)
    plant.deploy(*GOOD)
    assert "two releases of shop are active" in verdict(plant)


def test_hook_of_a_dead_server_that_is_left(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Converger, "_remove_hooks", nothing)
    assert plant.server is not None
    real = Fates.next

    def next_(fates: Fates, what: str) -> Fate | None:
        fate = real(fates, what)
        return Fate.KILL if what.endswith("/wait") else fate

    monkeypatch.setattr(Fates, "next", next_)
    plant.deploy(*GOOD, hooks=(HOOK,))
    monkeypatch.setattr(Fates, "next", real)
    assert verdict(plant).startswith("left over: ['lockstep-shop-migrate-")
