"""The store on a real SQLite file: each noun, transactions, two at a time, formats."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError, StatementError

from runtime.errors import LockstepError, NoSuchApp, StoreError
from runtime.model import (
    CatchUp,
    DeployState,
    EnvVar,
    Health,
    Hook,
    Key,
    Limits,
    Overlap,
    Role,
    RunState,
    Shell,
    StaticSite,
    Trigger,
    WorkerFailure,
)
from runtime.store import Store, prepare_store
from runtime.store import store as store_module
from runtime.store.schema import metadata
from runtime.store.store import NEWEST
from tests.unit.runtime.samples import COMMIT, NOW, cron, key, new_store, new_vault, release, web, worker

LATER = NOW + timedelta(seconds=1)


def with_app(store: Store, *numbers: int, live: int | None = None, app: str = "shop") -> Store:
    """`store` with an app that has these releases, `live` being the current one."""
    with store.write() as tx:
        tx.apps.create(app, NOW)
        for number in numbers:
            tx.releases.add(release(web(), number=number, app=app))
        tx.apps.set_current(app, live)
    return store


# ---- apps -------------------------------------------------------------------------------------------------------


def test_app_is_found_as_it_was_made(store: Store) -> None:
    with store.write() as tx:
        made = tx.apps.create("shop", NOW)
    with store.read() as tx:
        assert tx.apps.get("shop") == made
        assert (made.created_at, made.current_release, made.branch) == (NOW, None, None)
        assert tx.apps.find("blog") is None


def test_unknown_app_is_an_error_and_not_an_empty_answer(store: Store) -> None:
    with store.read() as tx, pytest.raises(NoSuchApp, match="there is no app 'blog'"):
        tx.apps.get("blog")


def test_name_of_an_app_is_its_alone(store: Store) -> None:
    with_app(store)
    with pytest.raises(StoreError, match=r"UNIQUE constraint failed: apps\.name"), store.write() as tx:
        tx.apps.create("shop", NOW)


def test_apps_are_sorted(store: Store) -> None:
    for name in ("shop", "blog", "mail"):
        with_app(store, app=name)
    with store.read() as tx:
        assert [app.name for app in tx.apps.all()] == ["blog", "mail", "shop"]


def test_branch_and_redis_password(store: Store) -> None:
    with_app(store)
    with store.write() as tx:
        assert tx.apps.redis_password("shop") is None
        tx.apps.set_branch("shop", "main")
        tx.apps.set_redis_password("shop", "hunter2")
    with store.read() as tx:
        assert (tx.apps.get("shop").branch, tx.apps.redis_password("shop")) == ("main", "hunter2")


def test_hold_is_set_and_lifted(store: Store) -> None:
    with_app(store)
    with store.write() as tx:
        tx.apps.hold("shop", 7)
    with store.write() as tx:
        assert tx.apps.held_by("shop") == 7
        tx.apps.hold("shop", None)
        assert tx.apps.held_by("shop") is None


def test_current_release_must_exist(store: Store) -> None:
    with_app(store, 1)
    with pytest.raises(StoreError, match="FOREIGN KEY constraint failed"), store.write() as tx:
        tx.apps.set_current("shop", 2)


def test_removed_app_takes_everything_along(store: Store) -> None:
    with_app(store, 1, live=1)
    with store.write() as tx:
        made = tx.deploys.begin("shop", "push", "anna", COMMIT, None, NOW)
        tx.deploys.record(made, NOW)
        tx.apps.replace_config("shop", {"A": "1"}, "anna", NOW)
        tx.cron.put_jobs([{"app": "shop", "job": "nightly", "cursor": NOW, "timing": "x"}])
        tx.events.add(who="anna", app="shop", action="push", result="ok", now=NOW)
    with store.write() as tx:
        tx.apps.remove("shop")
    with store.read() as tx:
        assert tx.apps.all() == []
        assert (tx.deploys.of("shop"), tx.releases.of("shop"), tx.apps.config("shop")) == ([], [], {})
        assert len(tx.events.of("shop")) == 1  # the record of what was done stays


# ---- config -----------------------------------------------------------------------------------------------------


def test_config_is_replaced_and_notes_only_what_changed(store: Store, tmp_path: Path) -> None:
    with_app(store)
    with store.write() as tx:
        tx.apps.replace_config("shop", {"A": "1", "B": "2", "C": "3"}, "anna", NOW)
    with store.write() as tx:
        tx.apps.replace_config("shop", {"B": "2", "C": "4", "D": ""}, "bert", LATER)
    with store.read() as tx:
        assert tx.apps.config("shop") == {"B": "2", "C": "4", "D": ""}
    with sqlite3.connect(tmp_path / "lockstep.db") as raw:
        noted = dict(raw.execute("SELECT name, changed_by FROM config"))
    raw.close()
    assert noted == {"B": "anna", "C": "bert", "D": "bert"}


def test_values_are_not_readable_in_the_file(store: Store, tmp_path: Path) -> None:
    with_app(store)
    with store.write() as tx:
        tx.apps.replace_config("shop", {"PASSWORD": "correct-horse"}, "anna", NOW)
        tx.apps.set_redis_password("shop", "battery-staple")
        tx.releases.add(release(web(), config={"PASSWORD": "correct-horse"}))
    store.close()
    written = b"".join(path.read_bytes() for path in tmp_path.glob("lockstep.db*"))
    assert b"PASSWORD" in written  # names are not secret
    assert b"correct-horse" not in written
    assert b"battery-staple" not in written


# ---- releases ---------------------------------------------------------------------------------------------------


def test_release_with_everything_comes_back_equal(store: Store) -> None:
    full = release(
        web(
            replicas=3,
            shell=Shell.EXEC,
            before=("one", "two"),
            limits=Limits(cpu=0.25, memory=128 * 2**20, soft=True, size="standard-1"),
            health=Health(path="/up?x=%20", period=2.5, deadline=9.5),
            grace=0.5,
        ),
        worker(command=None),
        crons=(cron(overlap=Overlap.REPLACE, catch_up=CatchUp.SKIP, timezone="Europe/Zurich", retries=2),),
        hooks=(Hook(name="migrate", command="a 'b' \"c\" ü\n", timeout=1.5, retries=5),),
        env=(EnvVar(name="A", value="=\n\t'\"ü", sensitive=True),),
        secrets=("TOKEN",),
        persist=("data", "a/b"),
        redis=True,
        port_env=False,
        host="www.shop.ch",
        worker_failure=WorkerFailure.WARN,
        notify_on_failure="ops@shop.ch",
        config={"KEY": "välue\n", "EMPTY": ""},
        description='push of 1a2b3c4 - "ü"',
    )
    full = full.model_copy(
        update={
            "spec": full.spec.model_copy(
                update={
                    "build": full.spec.build.model_copy(
                        update={"static": StaticSite(folder="out", spa=False, headers={"/*": {"X-A": "b"}})}
                    )
                }
            )
        }
    )
    with_app(store)
    with store.write() as tx:
        tx.releases.add(full)
    with store.read() as tx:
        assert tx.releases.get("shop", 1) == full


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.from_regex(r"[A-Z_]{1,8}", fullmatch=True), st.text(st.characters(codec="utf-8"))))
def test_any_config_comes_back_equal(store: Store, config: dict[str, str]) -> None:
    with store.write() as tx:
        if tx.apps.find("shop") is None:
            tx.apps.create("shop", NOW)
        made = release(web(), number=tx.releases.next_number("shop"), config=config)
        tx.releases.add(made)
    with store.read() as tx:
        assert tx.releases.get("shop", made.number) == made


def test_numbers_go_up_for_each_app(store: Store) -> None:
    with_app(store, 1, 2, 3)
    with_app(store, app="blog")
    with store.read() as tx:
        assert (tx.releases.next_number("shop"), tx.releases.next_number("blog")) == (4, 1)


def test_current_release_is_what_the_row_says(store: Store) -> None:
    with_app(store, 1, 2)
    with store.write() as tx:
        assert tx.releases.current("shop") is None
        tx.apps.set_current("shop", 1)
    with store.read() as tx:
        current = tx.releases.current("shop")
    assert current == release(web(), number=1)


def test_release_of_another_app_is_not_found(store: Store) -> None:
    with_app(store, 1)
    with_app(store, app="blog")
    with store.read() as tx:
        assert tx.releases.find("blog", 1) is None
        with pytest.raises(LockstepError, match="blog has no release v1: 'releases blog' lists"):
            tx.releases.get("blog", 1)


def test_first_moment_of_being_live_stays(store: Store) -> None:
    with_app(store, 1, 2)
    with store.write() as tx:
        tx.releases.mark_live("shop", 1, NOW)
    with store.write() as tx:
        tx.releases.mark_live("shop", 1, LATER)
    with store.read() as tx:
        assert [(found.number, live_at) for found, live_at in tx.releases.of("shop")] == [(2, None), (1, NOW)]


def test_images_beyond_the_kept_ones(store: Store) -> None:
    """The newest that were live are kept; those that never were go whatever their age."""
    with_app(store, *range(1, 7))
    with store.write() as tx:
        for number in (1, 2, 4, 5):
            tx.releases.mark_live("shop", number, NOW)
        assert [found.number for found in tx.releases.beyond("shop", 2)] == [1, 2, 3, 6]
        tx.releases.image_is_gone("shop", 2)
        assert [found.number for found in tx.releases.beyond("shop", 2)] == [1, 3, 6]


# ---- deploys ----------------------------------------------------------------------------------------------------


def test_deploy_and_its_journal(store: Store) -> None:
    with_app(store, 1, live=1)
    with store.write() as tx:
        begun = tx.deploys.begin("shop", "push", "anna", COMMIT, 1, NOW)
    assert (begun.state, begun.previous, begun.phases) == (DeployState.QUEUED, 1, {})
    states = (DeployState.BUILDING, DeployState.FAILED)
    for moment, state in zip((NOW, LATER), states, strict=True):
        ended = moment if state.ended else None
        changed = begun.model_copy(
            update={"state": state, "ended_at": ended, "error": "no", "release": 2, "phases": {"build": 1.5}}
        )
        with store.write() as tx:
            tx.deploys.record(changed, moment)
    with store.read() as tx:
        assert tx.deploys.get(begun.id) == changed
        assert tx.deploys.journal(begun.id) == [(NOW, DeployState.BUILDING), (LATER, DeployState.FAILED)]


def test_unfinished_deploys(store: Store) -> None:
    with_app(store)
    with_app(store, app="blog")
    with store.write() as tx:
        made = [tx.deploys.begin("shop", "push", "anna", COMMIT, None, NOW) for _ in DeployState]
        for deploy, state in zip(made, DeployState, strict=True):
            tx.deploys.record(deploy.model_copy(update={"state": state}), NOW)
    with store.read() as tx:
        found = {deploy.state for deploy in tx.deploys.unfinished()}
        assert found == {state for state in DeployState if not state.ended}
        with pytest.raises(LockstepError, match="there is no deploy 99"):
            tx.deploys.get(99)


def test_numbers_of_deploys_are_never_used_again(store: Store) -> None:
    """A container or log of a destroyed app must not be taken for a new deploy's."""
    with_app(store)
    with store.write() as tx:
        first = tx.deploys.begin("shop", "push", "anna", COMMIT, None, NOW)
        tx.apps.remove("shop")
    with_app(store)
    with store.write() as tx:
        assert tx.deploys.begin("shop", "push", "anna", COMMIT, None, NOW).id > first.id


# ---- cron -------------------------------------------------------------------------------------------------------


def claim(store: Store, slot: datetime = NOW, **changes: object) -> int | None:
    values = {"trigger": Trigger.SCHEDULE, "state": RunState.DUE, "release": 1, "now": NOW, **changes}
    with store.write() as tx:
        run = tx.cron.open_run("shop", "nightly", slot, **values)  # type: ignore[arg-type]
    return None if run is None else run.id


def test_slot_is_claimed_once(store: Store) -> None:
    with_app(store, 1, live=1)
    first = claim(store)
    assert first is not None
    assert claim(store) is None
    assert claim(store, NOW.astimezone(timezone(timedelta(hours=2)))) is None  # the same moment, said otherwise
    assert (claim(store, LATER) or 0) > first


def test_run_goes_from_due_to_its_end_once(store: Store) -> None:
    with_app(store, 1, live=1)
    run = claim(store, stands_for=3)
    assert run is not None
    with store.write() as tx:
        assert [(found.id, found.stands_for) for found in tx.cron.unfinished("shop", "nightly")] == [(run, 3)]
        assert tx.cron.change(run, (RunState.DUE,), state=RunState.RUNNING.value, started_at=NOW)
        assert tx.cron.change(run, (RunState.RUNNING,), state=RunState.FAILED.value, ended_at=LATER, exit_code=3)
        assert not tx.cron.change(run, (RunState.RUNNING,), state=RunState.SUCCEEDED.value)
        assert tx.cron.unfinished() == []
        found = tx.cron.get(run)
    assert (found.state, found.started_at, found.ended_at, found.exit_code) == (RunState.FAILED, NOW, LATER, 3)


# ---- people -----------------------------------------------------------------------------------------------------


def test_keys_come_back_as_they_were_given(store: Store) -> None:
    given_keys = [key("anna"), key("vera", role=Role.VIEWER, apps=("shop", "blog"))]
    with store.write() as tx:
        for one in given_keys:
            tx.keys.add(one)
    with store.read() as tx:
        assert tx.keys.all() == given_keys
        assert tx.keys.find("SHA256:vera") == given_keys[1]
        assert tx.keys.named("anna") == given_keys[0]
        assert (tx.keys.find("SHA256:x"), tx.keys.named("x")) == (None, None)


@pytest.mark.parametrize("field", ["name", "public", "fingerprint"])
def test_key_is_there_once(store: Store, field: str) -> None:
    other: Key = key("bert").model_copy(update={field: getattr(key("anna"), field)})
    with store.write() as tx:
        tx.keys.add(key("anna"))
    with pytest.raises(StoreError, match="UNIQUE constraint"), store.write() as tx:
        tx.keys.add(other)


def test_events_are_newest_first_and_by_app(store: Store) -> None:
    with store.write() as tx:
        for number, app in enumerate(("shop", "blog", None)):
            tx.events.add(who="anna", app=app, action=f"a{number}", result="ok", now=NOW)
    with store.read() as tx:
        assert [event.action for event in tx.events.of(None)] == ["a2", "a1", "a0"]
        assert [event.action for event in tx.events.of("shop")] == ["a0"]


def test_moment_needs_a_time_zone(store: Store) -> None:
    with pytest.raises(StatementError, match="needs a time zone"), store.write() as tx:
        tx.apps.create("shop", NOW.replace(tzinfo=None))


def test_moments_are_kept_in_utc_to_the_microsecond(store: Store) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=-5)))
    with store.write() as tx:
        tx.apps.create("shop", there)
    with store.read() as tx:
        found = tx.apps.get("shop").created_at
    assert (found, found.tzinfo) == (NOW, UTC)


# ---- transactions -----------------------------------------------------------------------------------------------


def test_failed_transaction_leaves_nothing(store: Store) -> None:
    with_app(store, 1, 2, live=1)

    def fail(error: BaseException) -> None:
        with store.write() as tx:
            tx.apps.set_current("shop", 2)
            tx.apps.replace_config("shop", {"A": "1"}, "anna", NOW)
            tx.deploys.begin("shop", "push", "anna", COMMIT, 1, NOW)
            raise error

    for error in (ValueError("no"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            fail(error)
        with store.read() as tx:
            assert tx.apps.get("shop").current_release == 1
            assert (tx.apps.config("shop"), tx.deploys.of("shop")) == ({}, [])


def test_refused_change_is_a_sentence_with_its_cause(store: Store) -> None:
    with_app(store)
    with pytest.raises(StoreError, match="the store did not take a change: UNIQUE") as caught, store.write() as tx:
        tx.apps.create("shop", NOW)
    assert isinstance(caught.value.__cause__, IntegrityError)


def test_reader_sees_one_moment_and_never_half_a_change(store: Store) -> None:
    with_app(store, 1, 2, live=1)
    with store.read() as reader:
        assert reader.apps.get("shop").current_release == 1
        with store.write() as writer:
            writer.apps.set_current("shop", 2)
            writer.apps.set_branch("shop", "main")
        before = reader.apps.get("shop")
        assert (before.current_release, before.branch) == (1, None)
    with store.read() as reader:
        after = reader.apps.get("shop")
        assert (after.current_release, after.branch) == (2, "main")


def test_writers_wait_for_one_another(store: Store, tmp_path: Path) -> None:
    """Two processes share the file: neither loses a change to the other."""
    with_app(store)
    other = Store(tmp_path / "lockstep.db", store.vault)

    def add(which: Store) -> None:
        for _ in range(20):
            with which.write() as tx:
                number = tx.releases.next_number("shop")
                tx.releases.add(release(web(), number=number))

    threads = [threading.Thread(target=add, args=(which,)) for which in (store, other, store)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.read() as tx:
        assert tx.releases.next_number("shop") == 61
    other.close()


def test_writer_that_holds_on_for_too_long_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "BUSY_DEADLINE", 0.02)
    one = new_store(tmp_path)
    with (
        one.write() as tx,
        pytest.raises(StoreError, match="the store did not take a change: database is locked"),
        one.write(),
    ):
        pass
    with one.write() as tx:  # and nothing is left locked
        tx.apps.create("shop", NOW)
    one.close()


def test_change_survives_the_death_of_its_process(tmp_path: Path) -> None:
    """Killed right after a commit, and right before one: the first is there, the second is not."""
    with_app(new_store(tmp_path), 1, 2, live=1)
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from runtime.secrets import Vault\n"
        "from runtime.store import Store\n"
        "folder = Path(sys.argv[1])\n"
        "store = Store(folder / 'lockstep.db', Vault(folder / 'secret.key'))\n"
        "with store.write() as tx:\n"
        "    tx.apps.set_current('shop', 2)\n"
        "with store.write() as tx:\n"
        "    tx.apps.set_branch('shop', 'lost')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env={**os.environ, "PYTHONPATH": root}, check=False
    )
    assert done.returncode == -9
    found = Store(tmp_path / "lockstep.db", new_vault(tmp_path))
    with found.read() as tx:
        app = tx.apps.get("shop")
    assert (app.current_release, app.branch) == (2, None)
    found.close()


# ---- formats ----------------------------------------------------------------------------------------------------


def reformatted(path: Path, change: Callable[[sqlite3.Connection], object]) -> None:
    raw = sqlite3.connect(path)
    change(raw)
    raw.commit()
    raw.close()


def test_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"lockstep\.db is not there: run 'lockstep init' first"):
        Store(tmp_path / "lockstep.db", new_vault(tmp_path))


@pytest.mark.parametrize("open_it", [prepare_store, lambda path: Store(path, new_vault(path.parent))])
def test_newer_format_is_refused_and_left_alone(tmp_path: Path, open_it: Callable[[Path], object]) -> None:
    new_store(tmp_path).close()
    path = tmp_path / "lockstep.db"
    reformatted(path, lambda raw: raw.execute("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"was written by a newer Lockstep \(format 9999\): install that version"):
        open_it(path)
    reformatted(path, lambda raw: raw.execute("UPDATE alembic_version SET version_num = ?", (NEWEST,)))
    prepare_store(path)


@pytest.mark.parametrize("content", [b"", None])
def test_file_without_a_format_says_what_to_run(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "lockstep.db"
    if content is not None:
        path.write_bytes(content)
    else:
        reformatted(path, lambda raw: raw.execute("CREATE TABLE other (x)"))
    with pytest.raises(StoreError, match=f"is in format None and this is {NEWEST}: start the server"):
        Store(path, new_vault(tmp_path))
    prepare_store(path)
    with Store(path, new_vault(tmp_path)).read() as tx:
        assert tx.apps.all() == []


def test_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "lockstep.db"
    path.write_bytes(b"this is not a database, not at all" * 100)
    with pytest.raises(StoreError, match="restore it from a backup"):
        Store(path, new_vault(tmp_path))


def test_preparing_again_changes_nothing(store: Store, tmp_path: Path) -> None:
    with_app(store, 1, live=1)
    prepare_store(tmp_path / "lockstep.db")
    with store.read() as tx:
        assert tx.apps.get("shop").current_release == 1
    assert store.format() == NEWEST


def test_prepared_file_has_the_tables_that_the_code_describes(tmp_path: Path) -> None:
    new_store(tmp_path).close()
    raw = sqlite3.connect(tmp_path / "lockstep.db")
    there = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert set(metadata.tables) <= there
    for table in metadata.sorted_tables:
        columns = {row[1] for row in raw.execute(f"PRAGMA table_info({table.name})")}
        assert columns == {column.name for column in table.columns}
    raw.close()
