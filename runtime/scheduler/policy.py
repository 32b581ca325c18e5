"""What becomes of slots that are due: pure decisions on what the store says.

To wait means that nothing is written and the job's cursor stays, so that whatever happens meanwhile (another
slot, a restart) the slots are decided on again, together.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from runtime.model import CatchUp, CronRun, Overlap, RunState, Trigger
from runtime.scheduler.jobs import Job
from runtime.scheduler.schedule import Slots

ON_TIME: Final = timedelta(seconds=60)  # a slot that is not older than this was not missed
HOLD_LIMIT: Final = timedelta(minutes=10)  # that a slot waits for a deploy of its app
REPLACED: Final = "replaced by the next run"
WAS_DOWN: Final = "missed while the scheduler or the app was down"


class WaitsFor(StrEnum):
    """What slots wait for before they are decided on."""

    DEPLOY = "the end of a deploy"
    RUN = "the end of a run"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the store says, in the transaction that acts on it."""

    live: bool  # the app has a live release
    held_by: int | None  # the deploy that keeps runs from starting
    held_for: timedelta  # how long these slots have waited for it
    suspended_by: str | None
    open: tuple[CronRun, ...]  # runs of the job that have not ended
    group: tuple[CronRun, ...] = ()  # runs of the job's serial group that have not ended, its own among them


@dataclass(frozen=True, slots=True)
class Entry:
    """A row to write: `stands_for` slots up to `slots.last` end with it, or are run as one."""

    slots: Slots
    state: RunState
    trigger: Trigger
    reason: str | None = None
    missed: bool = False  # skipped though nobody wanted that: when it is long ago, it is alerted of


@dataclass(frozen=True, slots=True)
class Decision:
    """Rows to write, oldest first; or what the slots wait for, and the runs to be stopped for them."""

    entries: tuple[Entry, ...] = ()
    wait: WaitsFor | None = None
    stop: tuple[int, ...] = ()


def decide(job: Job, missed: Slots | None, fresh: Slots | None, facts: Facts) -> Decision:
    """`missed` slots are too old to be on time, `fresh` ones are not; at least one of them is there."""
    slots = join(missed, fresh)
    if facts.suspended_by is not None:
        return _skip(slots, f"suspended by {facts.suspended_by}")
    if facts.held_by is not None:
        if facts.held_for <= HOLD_LIMIT:
            return Decision(wait=WaitsFor.DEPLOY)
        return _skip(
            slots, f"deploy {facts.held_by} held the app for over {HOLD_LIMIT.total_seconds():g} s", missed=True
        )
    if not facts.live:
        return _skip(slots, "the app has no live release")
    if facts.open and job.overlap is not Overlap.ALLOW:
        return _overlap(job, slots, facts.open)
    if facts.group:
        return Decision(wait=WaitsFor.RUN)
    return _start(job, missed, fresh)


def join(older: Slots | None, newer: Slots | None) -> Slots:
    if older is None or newer is None:
        found = older or newer
        assert found is not None
        return found
    return Slots(older.first, newer.last, older.count + newer.count, newer.following)


def _overlap(job: Job, slots: Slots, runs: tuple[CronRun, ...]) -> Decision:
    if job.overlap is Overlap.FORBID:
        return _skip(slots, f"run {runs[-1].id} had not ended")
    stop = tuple(run.id for run in runs) if job.overlap is Overlap.REPLACE else ()
    return Decision(wait=WaitsFor.RUN, stop=stop)


def _start(job: Job, missed: Slots | None, fresh: Slots | None) -> Decision:
    if missed is None:
        assert fresh is not None
        return Decision((Entry(fresh, RunState.DUE, Trigger.SCHEDULE),))
    if job.catch_up is CatchUp.ONCE:
        return Decision((Entry(join(missed, fresh), RunState.DUE, Trigger.CATCH_UP),))
    entry = Entry(missed, RunState.SKIPPED, Trigger.CATCH_UP, WAS_DOWN, missed=True)
    again = () if fresh is None else (Entry(fresh, RunState.DUE, Trigger.SCHEDULE),)
    return Decision((entry, *again))


def _skip(slots: Slots, reason: str, *, missed: bool = False) -> Decision:
    return Decision((Entry(slots, RunState.SKIPPED, Trigger.SCHEDULE, reason, missed),))
