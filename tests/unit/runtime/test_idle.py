"""Processes of which none runs: by whose word, and what ends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.errors import LockstepError
from runtime.idle import Idle, check_runs, idle_in, tell_stopped
from runtime.model import Release
from runtime.status import _idle
from runtime.store import Store
from runtime.store.faces import ALL
from runtime.story import Story
from tests.unit.runtime.samples import NOW, new_store, release, web, worker

LIVE = release(web(), worker("clock"), worker("mailer", replicas=0))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = new_store(tmp_path)
    with found.write() as tx:
        tx.apps.create("shop", NOW)
    yield found
    found.close()


def idle(store: Store, live: Release = LIVE) -> dict[str, Idle]:
    with store.read() as tx:
        return idle_in(tx, live)


def put(store: Store, *stopped: str, **scale: int) -> None:
    with store.write() as tx:
        tx.faces.set_stopped("shop", stopped)
        for process, replicas in scale.items():
            tx.apps.set_scale("shop", process, replicas)


def told(store: Store) -> list[str]:
    lines: list[str] = []
    tell_stopped(store, LIVE, Story(lines.append))
    return lines


def test_stopped_is_one_thing_and_scaled_to_nothing_another(store: Store) -> None:
    assert idle(store) == {"mailer": Idle.SCALED}
    put(store, "web", web=0, clock=0, mailer=2)
    assert idle(store) == {"web": Idle.STOPPED, "clock": Idle.SCALED}
    put(store, ALL)
    assert set(idle(store).values()) == {Idle.STOPPED}


def test_each_has_a_row_in_what_ps_shows(store: Store) -> None:
    put(store, "web")
    rows = _idle(LIVE, idle(store), [])
    assert [(row.name, row.state) for row in rows] == [("web", "stopped"), ("mailer", "scaled to 0")]


def test_a_deploy_says_what_it_leaves_stopped(store: Store) -> None:
    assert told(store) == []
    put(store, "web")
    assert told(store) == ["-----> Leaving web stopped: 'ps:start shop web' starts it"]
    put(store, "web", "clock")
    assert told(store) == ["-----> Leaving web, clock stopped: 'ps:start shop web clock' starts them"]


@pytest.mark.parametrize(
    ("stopped", "process", "sentence"),
    [
        (("web",), "web", "web is stopped: 'ps:start shop web' starts it"),
        ((), "mailer", "mailer is scaled to 0: 'ps:scale shop mailer=1' starts it"),
        ((ALL,), None, "web, clock, mailer are stopped: 'ps:start shop web clock mailer' starts them"),
        (
            ("web", "clock"),
            None,
            "web, clock are stopped: 'ps:start shop web clock' starts them; "
            "mailer is scaled to 0: 'ps:scale shop mailer=1' starts it",
        ),
    ],
)
def test_what_does_not_run_is_not_restarted(
    store: Store, stopped: tuple[str, ...], process: str | None, sentence: str
) -> None:
    put(store, *stopped)
    with pytest.raises(LockstepError) as refusal:
        check_runs(store, LIVE, process)
    assert str(refusal.value) == sentence


def test_one_that_runs_is_enough_to_restart_an_app(store: Store) -> None:
    put(store, "web")
    check_runs(store, LIVE, None)
    check_runs(store, LIVE, "clock")
