"""The server dies before the row that commits a deploy is written: the old release stays."""

from __future__ import annotations

import pytest

from scripts.driver import Instance, Work
from tests.chaos.killing import APP, PROCESSES, kill_and_recover
from tests.chaos.observer import until_settled

pytestmark = pytest.mark.engine

STEPS = ("prepare", "predeploy", "stage", "quiesce", "commit")


@pytest.fixture(scope="module")
def live(instance: Instance, work: Work) -> Work:
    done = instance.push(work, APP)
    assert done.code == 0, done.err
    return work


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_the_old_release_stays(instance: Instance, live: Work, step: str, moment: str) -> None:
    kill_and_recover(instance, live, f"{step}:{moment}", went_live=False)


def test_nothing_is_left_over_in_the_end(instance: Instance, live: Work) -> None:
    until_settled(instance, APP, PROCESSES, ended=True)
