"""Each call that a deploy makes to engine, router, Redis and store meets each fate once: the promises hold after it.

Where tests.property.test_release_machine draws at random, this leaves nothing out: the n-th call of a deploy is
failed, lost, hung, or is the server's last, for every n.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from runtime.deployer import Outcome
from runtime.errors import LockstepError
from runtime.model import Hook, Process
from tests.contract.fates import Fate, Fates
from tests.property.plant import APP, Ended, Plant
from tests.unit.runtime import samples

SERVES: Final = "python3 -m http.server"
HOOK: Final = Hook(name="migrate", command="echo migrating; sleep 1")
OLD: Final = (samples.web(command=SERVES), samples.worker("mailer", command="run the old one"))
GOOD: Final = (
    samples.web(command=SERVES, replicas=2),
    samples.worker("mailer", command="run the new one"),
    samples.worker("indexer", command="run another"),
)
BAD: Final = (GOOD[0], GOOD[1], samples.worker("crasher", command="sleep 0.1; exit 3"))


@dataclass(frozen=True)
class Case:
    """A release that is live, and the push that comes after it."""

    name: str
    before: tuple[Process, ...] | None
    pushed: tuple[Process, ...]
    goes_live: bool
    changes: tuple[tuple[str, Any], ...] = ()

    def push(self, plant: Plant) -> Ended:
        return plant.deploy(*self.pushed, **dict(self.changes))


CASES: Final = (
    Case("first", None, GOOD, True, (("hooks", (HOOK,)), ("redis", True))),
    Case("next", OLD, GOOD, True, (("hooks", (HOOK,)), ("redis", True), ("persist", ("data",)))),
    Case("undone", OLD, BAD, False),
)
# Where two fates differ only in whether a call had its effect, one case is enough to tell them apart.
LEFT_OUT: Final = {"first": (Fate.HANG, Fate.HANG_DONE, Fate.LOSE_DONE, Fate.CANCEL_DONE, Fate.ENGINE_DOWN),
               "undone": (Fate.HANG, Fate.KILL, Fate.CANCEL_DONE)}  # fmt: skip
SWEEPS: Final = [(case, fate) for case in CASES for fate in Fate if fate not in LEFT_OUT.get(case.name, ())]


def live(plant: Plant) -> int | None:
    with plant.store.read() as tx:
        return tx.apps.get(APP).current_release


def has_ended(plant: Plant) -> bool:
    """False while the undoing goes on in the background: the store would not take its first row, or its last."""
    with plant.store.read() as tx:
        return tx.deploys.unfinished() == []


def fresh(case: Case) -> Plant:
    plant = Plant()
    plant.start_server()
    if case.before is not None:
        assert isinstance(plant.deploy(*case.before), Outcome)
    return plant


def calls_of(case: Case) -> int:
    """How many calls the push makes when nothing befalls it."""
    plant = fresh(case)
    try:
        fates = fates_of(plant)
        begun = fates.count
        assert isinstance(case.push(plant), Outcome) is case.goes_live
        return fates.count - begun
    finally:
        plant.close()


def fates_of(plant: Plant) -> Fates:
    assert plant.server is not None
    return plant.server.fates


def sweep(case: Case, fate: Fate) -> Iterator[None]:
    for number in range(1, calls_of(case) + 1):
        plant = fresh(case)
        try:
            befallen(plant, case, number, fate)
        finally:
            plant.close()
        yield


def befallen(plant: Plant, case: Case, number: int, fate: Fate) -> None:
    before = live(plant)
    fates = fates_of(plant)
    fates.plan = {fates.count + number: fate}
    ended = case.push(plant)
    assert fates.met, f"call {number} never came"
    if isinstance(ended, Outcome):
        assert case.goes_live, plant.tell("a bad release went live")
        assert live(plant) == ended.release.number, plant.tell("a live release is not live")
    elif isinstance(ended, LockstepError) and has_ended(plant):
        assert live(plant) == before, plant.tell(f"a failed deploy ({ended}) left another release live")
    plant.check_moments()
    plant.recover()
    plant.check_moments()
    plant.check()
    if isinstance(ended, Outcome):
        assert live(plant) == ended.release.number, plant.tell("a live release did not stay live")
    elif isinstance(ended, LockstepError) or not case.goes_live:
        assert live(plant) == before, plant.tell("a failed deploy is live after all")


@pytest.mark.parametrize(("case", "fate"), SWEEPS, ids=lambda found: found.name.lower())
def test_promises_hold_whatever_befalls_any_call(case: Case, fate: Fate) -> None:
    assert len(list(sweep(case, fate))) > 20
