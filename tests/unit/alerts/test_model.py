"""What an alert is, and when it is sent again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runtime.alerts.model import MOST_TRIES, AlertKind, Cause, pause_after
from runtime.alerts.raising import missed, silent

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_pauses_grow_and_end() -> None:
    pauses = [pause_after(number) for number in range(1, MOST_TRIES + 1)]
    assert pauses == [*(timedelta(seconds=seconds) for seconds in (1, 5, 30, 120, 600)), None]


@pytest.mark.parametrize(
    ("cause", "about"),
    [
        (Cause(kind=AlertKind.DEPLOY, app="shop", status="failed", error="x", deploy=7), "deploy 7"),
        (Cause(kind=AlertKind.RUN, app="shop", status="failed", error="x", job="tick", run=12), "run 12"),
        (missed("shop", "tick", NOON, "x"), "shop/tick at 2026-05-04T12:00:00+00:00"),
        (missed("shop", "tick", NOON, "other", 3), "shop/tick at 2026-05-04T12:00:00+00:00"),
        (silent(NOON, timedelta(seconds=60)), "scheduler, silent since 2026-05-04T12:00:00+00:00"),
        (silent(None, timedelta(seconds=60)), "scheduler, silent since ever"),
    ],
)
def test_a_cause_names_what_there_is_one_alert_of(cause: Cause, about: str) -> None:
    assert cause.about == about
