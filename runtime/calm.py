"""What a deploy waits for before it stops the old workers: the app's cron runs, once no new one starts."""

from __future__ import annotations

from typing import Final

from runtime.errors import DeadlinePassed, LockstepError
from runtime.model import CronRun
from runtime.parts import Parts
from runtime.store import Transaction
from runtime.story import Story

CRON_WAIT: Final = "cron"  # by what the time that was waited for runs is counted, among a deploy's phases
START_DEADLINE: Final = 30.0  # seconds for a cron run that was due to get its container


async def until_calm(parts: Parts, app: str, story: Story) -> bool:
    """Return when no run of the app is about to start, and none goes on whose job blocks deploys; whether one did.

    The app is held, so that no further one is claimed. Raises LockstepError when such a run goes on for longer
    than the setting `cron_wait`: the deploy then fails, with the old release as it was.
    """

    async def started() -> bool | None:
        with parts.store.read() as tx:
            return None if any(run.started_at is None for run in tx.cron.unfinished(app)) else True

    async def ended() -> bool | None:
        return None if _blocking(parts, app) else True

    await parts.fleet.events.until("cron runs that were due to start", START_DEADLINE, started)
    runs = _blocking(parts, app)
    for run in runs:
        story.step(f"Waiting for cron run {run.id} of {run.job} to end")
    try:
        await parts.fleet.events.until("the end of cron runs that block the deploy", parts.settings.cron_wait, ended)
    except DeadlinePassed as error:
        left = _blocking(parts, app) or runs
        raise LockstepError(
            f"cron run {left[0].id} of {left[0].job} did not end within {error.seconds:g} s: "
            f"wait for its end, or stop it with 'cron:cancel {app} {left[0].id}'"
        ) from None
    return bool(runs)


def _blocking(parts: Parts, app: str) -> list[CronRun]:
    with parts.store.read() as tx:
        return [run for run in tx.cron.unfinished(app) if _blocks(tx, run)]


def _blocks(tx: Transaction, run: CronRun) -> bool:
    """As the run's own release has it."""
    release = None if run.release is None else tx.releases.find(run.app, run.release)
    return release is not None and any(job.blocks_deploy for job in release.spec.crons if job.name == run.job)
