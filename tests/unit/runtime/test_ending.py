"""The last lines of a deploy that went live, and of one that failed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from runtime.calm import CRON_WAIT
from runtime.ending import tell_failure, tell_success
from runtime.errors import DeployError, LockstepError
from runtime.model import Deploy, DeployState
from runtime.release import Progress
from runtime.story import Story
from tests.unit.runtime.samples import NOW, release, settings

LISTS = "'ps shop' shows what runs, 'deploys shop' what was tried"


def deploy(**changes: Any) -> Deploy:
    values = {"id": 1, "app": "shop", "kind": "push", "who": "anna", "commit": None, "release": 1, "previous": None}
    return Deploy(**{**values, "state": DeployState.QUIESCE, "started_at": NOW, **changes})


def test_time_is_told_by_what_it_was_spent_on(tmp_path: Path) -> None:
    told: list[str] = []
    spent = deploy(phases={"build": 1.0, CRON_WAIT: 18.0, "quiesce": 0.5, "commit": 0.001})
    tell_success(Story(told.append), settings(tmp_path), spent, release(), seconds=20.0)
    assert told[:2] == ["-----> Timing", "       build 1.00 s · wait for cron runs 18.00 s · stop workers 0.50 s"]


def test_what_is_counted_apart_is_not_counted_twice() -> None:
    progress = Progress(deploy(phases={"build": 1.0}), since=time.monotonic())
    since = progress.since
    progress.count(CRON_WAIT, 18.0)
    assert progress.deploy.phases == {"build": 1.0, CRON_WAIT: 18.0}
    assert progress.since == since + 18.0


@pytest.mark.parametrize(
    ("kind", "error", "last"),
    [
        ("push", DeployError("build", "no"), f"next: correct it and push again; {LISTS}"),
        ("config", DeployError("predeploy", "no"), f"next: correct it and try again; {LISTS}"),
        ("push", LockstepError("no"), f"next: {LISTS}"),
    ],
)
def test_next_step_is_that_of_the_kind_of_deploy(kind: str, error: LockstepError, last: str) -> None:
    lines: list[str] = []
    tell_failure(Story(lines.append), deploy(kind=kind), error)
    assert lines[-1] == f" !     {last}"
