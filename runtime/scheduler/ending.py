"""How a run ended: from what the engine says about its container."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from runtime.model import MIB, CronJob, CronRun, RunState

TERMINATED: Final = 143  # by SIGTERM
KILLED: Final = frozenset({TERMINATED, 137})  # 137: by SIGKILL
LOST: Final = KILLED | {255}  # what the engine says of a container that ended with it
ENGINE_STOP: Final = timedelta(seconds=20)  # the engine stops its containers so long before it goes
FIRST_RETRY: Final = timedelta(seconds=10)  # doubled at each further one
LONGEST_RETRY: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Found:
    """A container as the engine describes it."""

    id: str
    started_at: datetime | None
    ended_at: datetime | None
    exit_code: int
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """What the row is closed with."""

    state: RunState
    at: datetime
    exit_code: int | None = None
    reason: str | None = None


def judge(run: CronRun, job: CronJob, found: Found, cause: RunState | None, engine_lost: datetime | None) -> End:
    """The end of a container that was started and runs no more.

    `cause` is TIMED_OUT or CANCELLED when this scheduler stopped it for that; what an earlier one did shows in
    the row and in the code. `engine_lost` is when the engine went away meanwhile.
    """
    assert found.started_at is not None
    assert found.ended_at is not None
    code, at = found.exit_code, found.ended_at
    was_killed = cause is None and (code in KILLED or job.stop_command is not None)  # a command may end it with any
    overdue = at - found.started_at >= timedelta(seconds=job.timeout)
    if cause is RunState.TIMED_OUT or (was_killed and overdue):
        return End(RunState.TIMED_OUT, at, code, f"did not end within {job.timeout:g} s")
    if cause is RunState.CANCELLED or (was_killed and run.stop is not None):
        return End(RunState.CANCELLED, at, code, run.stop)
    if code == 0:
        return End(RunState.SUCCEEDED, at, code)
    if engine_lost is not None and code in LOST and at >= engine_lost - ENGINE_STOP:
        return End(RunState.INTERRUPTED, at, code, "the engine or the machine stopped while it ran")
    if code == TERMINATED:  # an engine that is shut down in order ends its containers while it still answers
        return End(RunState.INTERRUPTED, at, code, "it was stopped from outside, by the engine or by hand")
    memory = f"out of memory (over {job.limits.memory / MIB:g} MiB)" if found.out_of_memory else None
    return End(RunState.FAILED, at, code, memory)


def retry_moment(run: CronRun, job: CronJob, end: End) -> datetime | None:
    """When the run is tried again, None when it is not."""
    failed = end.state in (RunState.FAILED, RunState.TIMED_OUT, RunState.INTERRUPTED)
    if not failed or run.attempt > job.retries:
        return None
    pause: timedelta = FIRST_RETRY * 2 ** (run.attempt - 1)
    return end.at + min(pause, LONGEST_RETRY)
