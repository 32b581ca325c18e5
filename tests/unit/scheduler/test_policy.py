"""What becomes of due slots."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from runtime.model import CatchUp, CronRun, Overlap, RunState, Trigger
from runtime.scheduler.jobs import Job, job_of
from runtime.scheduler.policy import HOLD_LIMIT, Decision, Entry, Facts, WaitsFor, decide
from runtime.scheduler.schedule import Slots
from tests.cronrig import job

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
FREE = Facts(live=True, held_by=None, held_for=timedelta(0), suspended_by=None, open=())
ONE = Slots(NOON, NOON, 1)
OLD = Slots(NOON - timedelta(hours=3), NOON - timedelta(hours=1), 3)
RUN = CronRun(id=12, app="shop", job="tick", slot=NOON, trigger=Trigger.SCHEDULE, state=RunState.RUNNING, release=1)


def a_job(overlap: Overlap = Overlap.FORBID, catch_up: CatchUp = CatchUp.ONCE) -> Job:
    return job_of("shop", 1, job(overlap=overlap, catch_up=catch_up))


def skipped(reason: str, slots: Slots = ONE) -> Decision:
    return Decision((Entry(slots, RunState.SKIPPED, Trigger.SCHEDULE, reason),))


def test_a_slot_on_time_is_run() -> None:
    assert decide(a_job(), None, ONE, FREE) == Decision((Entry(ONE, RunState.DUE, Trigger.SCHEDULE),))


def test_missed_slots_are_one_run() -> None:
    both = Slots(OLD.first, NOON, 4)
    assert decide(a_job(), OLD, None, FREE) == Decision((Entry(OLD, RunState.DUE, Trigger.CATCH_UP),))
    assert decide(a_job(), OLD, ONE, FREE) == Decision((Entry(both, RunState.DUE, Trigger.CATCH_UP),))


def test_missed_slots_are_skipped_where_that_is_wished() -> None:
    decision = decide(a_job(catch_up=CatchUp.SKIP), OLD, ONE, FREE)
    missed, fresh = decision.entries
    assert (missed.slots, missed.state) == (OLD, RunState.SKIPPED)
    assert (missed.reason, missed.missed) == ("missed while the scheduler or the app was down", True)
    assert fresh == Entry(ONE, RunState.DUE, Trigger.SCHEDULE)


def test_what_keeps_a_slot_from_running() -> None:
    assert decide(a_job(), None, ONE, replace(FREE, live=False)) == skipped("the app has no live release")
    assert decide(a_job(), None, ONE, replace(FREE, suspended_by="ann")) == skipped("suspended by ann")
    assert decide(a_job(), OLD, None, replace(FREE, suspended_by="ann")) == skipped("suspended by ann", OLD)


def test_a_deploy_is_waited_for_up_to_a_limit() -> None:
    held = replace(FREE, held_by=7)
    assert decide(a_job(), None, ONE, held) == Decision(wait=WaitsFor.DEPLOY)
    late = replace(held, held_for=HOLD_LIMIT + timedelta(seconds=1))
    reason = "deploy 7 held the app for over 600 s"
    assert decide(a_job(), None, ONE, late).entries == (Entry(ONE, RunState.SKIPPED, Trigger.SCHEDULE, reason, True),)


def test_overlap() -> None:
    busy = replace(FREE, open=(RUN,))
    assert decide(a_job(Overlap.FORBID), None, ONE, busy) == skipped("run 12 had not ended")
    assert decide(a_job(Overlap.QUEUE), None, ONE, busy) == Decision(wait=WaitsFor.RUN)
    assert decide(a_job(Overlap.REPLACE), None, ONE, busy) == Decision(wait=WaitsFor.RUN, stop=(12,))
    assert decide(a_job(Overlap.ALLOW), None, ONE, busy).entries[0].state is RunState.DUE


def test_a_run_of_the_serial_group_is_waited_for() -> None:
    """A run of the job itself is the matter of its overlap policy; where that allows it, the group waits."""
    other = replace(FREE, group=(RUN,))
    own = replace(other, open=(RUN,))
    for overlap in Overlap:
        assert decide(a_job(overlap), None, ONE, other) == Decision(wait=WaitsFor.RUN)
    assert decide(a_job(Overlap.ALLOW), None, ONE, own) == Decision(wait=WaitsFor.RUN)
    assert decide(a_job(Overlap.FORBID), None, ONE, own) == skipped("run 12 had not ended")
