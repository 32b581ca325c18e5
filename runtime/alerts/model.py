"""What an alert is, and when it is sent again."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from runtime.model import Value

# Seconds from a try that was not taken to the next one; after the last there is none.
PAUSES: Final = (1.0, 5.0, 30.0, 120.0, 600.0)
MOST_TRIES: Final = len(PAUSES) + 1
UNDECIDED: Final = 60.0  # seconds after which a last try whose end nobody recorded counts as failed
GRACE: Final = timedelta(minutes=5)  # how late a cron job may begin before it counts as one that did not happen


class AlertKind(StrEnum):
    """What went wrong."""

    DEPLOY = "deploy"  # a deploy failed
    RUN = "run"  # a cron run failed, timed out or was interrupted, and is not tried again
    MISSED = "missed"  # a cron job was due and did not run
    SCHEDULER = "scheduler"  # the scheduler gives no sign of life


class AlertState(StrEnum):
    """Where the telling stands."""

    WAITING = "waiting"  # for its first try or the next one
    DELIVERED = "delivered"  # the address answered with success
    GIVEN_UP = "given up"  # no try was taken
    UNSENT = "not sent"  # the manifest names no address


class Cause(Value):
    """What an alert is about."""

    kind: AlertKind
    app: str | None = None  # None: the platform itself
    status: str  # how it ended: "failed", "timed out", "interrupted", "missed", "silent"
    error: str  # one sentence
    deploy: int | None = None
    job: str | None = None
    run: int | None = None
    slot: datetime | None = None  # when it was due; of the scheduler, its last sign of life
    exit_code: int | None = None

    @property
    def about(self) -> str:
        """Names the one thing that may be alerted of once."""
        match self.kind:
            case AlertKind.DEPLOY:
                return f"deploy {self.deploy}"
            case AlertKind.RUN:
                return f"run {self.run}"
            case AlertKind.MISSED:
                return f"{self.app}/{self.job} at {_text(self.slot)}"
            case AlertKind.SCHEDULER:
                return f"scheduler, silent since {_text(self.slot)}"


class Try(Value):
    """One attempt to tell of it; with neither status nor error it is under way, or the server stopped meanwhile."""

    number: int
    at: datetime
    status: int | None = None  # of the HTTP answer
    error: str | None = None


class Alert(Value):
    """One alert, and how the telling went."""

    id: int
    cause: Cause
    url: str | None  # where it is sent; it may hold a secret, so it is shown nowhere
    raised_at: datetime
    state: AlertState
    next_try_at: datetime | None
    tries: tuple[Try, ...] = ()


def pause_after(number: int) -> timedelta | None:
    """From the end of try `number` to the next one; None when it was the last."""
    return timedelta(seconds=PAUSES[number - 1]) if number < MOST_TRIES else None


def _text(moment: datetime | None) -> str:
    return "ever" if moment is None else moment.isoformat()
