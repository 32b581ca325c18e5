"""Renaming an app that is not live: every row and folder follows, and what can not be is refused with all as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Text, select

from runtime.alerts.model import AlertKind, Cause
from runtime.errors import StoreError
from runtime.logbook.entry import Entry, LogKind
from runtime.model import DeployState, Role, RunState, Trigger
from runtime.names import Handle
from runtime.renaming import move_folders
from runtime.runs.values import OneOff
from runtime.scheduler.runlog import ONE_OFF
from runtime.store import Transaction
from runtime.store.schema import metadata
from tests.unit.gitreceive.desk import Office
from tests.unit.runtime.samples import NOW, key

FOLDERS = ("repos/{}.git", "logs/apps/{}", "logs/deploys/{}", "logs/cron/{}", f"logs/{ONE_OFF}/{{}}")
MISSED = Cause(kind=AlertKind.MISSED, app="shop", status="missed", error="it did not run", job="tidy", slot=NOW)


def one_off(state: RunState) -> OneOff:
    return OneOff(
        app="shop",
        number=1,
        process="web",
        command="ls",
        release=1,
        detached=True,
        state=state,
        who="anna",
        created_at=NOW,
        timeout=60.0,
    )


def fill(office: Office) -> None:
    """A row in every table that has rows of apps, all ended, and a file in every folder."""
    office.add_app("shop", 1, 2)
    with office.store.write() as tx:
        tx.apps.set_redis_password("shop", "secret")
        tx.apps.replace_config("shop", {"A": "1"}, "anna", NOW, "config:set A")
        tx.apps.set_scale("shop", "web", 2)
        tx.faces.set_stopped("shop", {"web"})
        tx.faces.add_domain("shop", "shop.example.org", "anna", NOW)
        deploy = tx.deploys.begin("shop", "push", "anna", None, None, NOW)
        tx.deploys.record(deploy.model_copy(update={"state": DeployState.FAILED, "ended_at": NOW}), NOW)
        tx.cron.suspend("shop", "tidy", "anna", NOW)
        cron = tx.cron.open_run(
            "shop", "tidy", NOW, trigger=Trigger.MANUAL, state=RunState.DUE, release=1, serial=None, now=NOW
        )
        assert cron is not None
        tx.cron.change(cron.id, [RunState.DUE], state=RunState.FAILED, retry_at=NOW)
        tx.runs.add(one_off(RunState.SUCCEEDED))
        tx.alerts.add(MISSED, None, NOW)
        tx.keys.add(key("lena", role=Role.DEVELOPER, apps=("shop", "blog")))
        tx.events.add(who="anna", app="shop", action="ps:scale", detail="", result="ok", now=NOW)
    for folder in FOLDERS[:1] + FOLDERS[2:]:
        path = office.folder / folder.format("shop") / "file"
        path.parent.mkdir(parents=True)
        path.touch()
    office.parts.logbook.add("shop", Entry("2026-01-02T03:04:05Z", LogKind.APP, "web", "hello"))


def texts(office: Office) -> dict[str, list[str]]:
    """Every text in the database, by table and column."""
    with office.store.read() as tx:
        rows = tx.events._all
        return {
            f"{table.name}.{column.name}": [str(row[0]) for row in rows(select(column)) if row[0] is not None]
            for table in metadata.sorted_tables
            for column in table.c
            if isinstance(column.type, Text)
        }


async def test_no_row_and_no_folder_has_the_old_name(office: Office) -> None:
    fill(office)
    filled = {place for place, found in texts(office).items() if "shop" in found}
    assert {place.partition(".")[0] for place in filled} == {
        table.name for table in metadata.sorted_tables if "app" in table.c or table.name == "apps"
    }
    done = await office.run("apps:rename", "shop", "store")
    assert (done.code, done.err) == (0, "")
    left = {place for place, found in texts(office).items() if any("shop" in text for text in found)}
    assert left == {
        "apps.handle",
        "releases.made_as",
        "domains.host",  # the operator's own
        "events.detail",  # what the rename was
    }
    for folder in FOLDERS:
        assert not (office.folder / folder.format("shop")).exists()
        assert (office.folder / folder.format("store")).exists()
    with office.store.read() as tx:
        app, release = tx.apps.get("store"), tx.releases.get("store", 2)
        assert tx.alerts.add(MISSED.model_copy(update={"app": "store"}), None, NOW) is False
        known = tx.keys.named("lena")
    assert (app.handle, release.handle, release.made_as) == ("shop", "shop", "shop")
    assert known is not None
    assert known.apps == ("store", "blog")
    assert office.parts.logbook.of("store").lines == 1
    row = json.loads((await office.run("events", "store", "-o", "json")).out)[-1]
    assert (row["app"], row["what"], row["detail"], row["result"]) == ("store", "apps:rename", "shop store", "ok")


async def test_renamed_back_it_is_as_it_was(office: Office) -> None:
    fill(office)
    await office.run("apps:rename", "shop", "store")
    await office.run("apps:rename", "store", "shop")
    with office.store.read() as tx:
        app, release = tx.apps.get("shop"), tx.releases.get("shop", 1)
    assert (app.own_handle, release.own_handle, release.made_as) == (None, None, None)


async def test_a_new_app_of_the_old_name_has_a_handle_of_its_own(office: Office) -> None:
    for name in ("shop", "shop-2"):
        assert (await office.run("apps:create", name)).code == 0
    assert (await office.run("apps:rename", "shop", "store")).code == 0
    assert (await office.run("apps:create", "shop")).code == 0
    with office.store.read() as tx:
        handles = {app.name: app.handle for app in tx.apps.all()}
        assert tx.apps.name_of(Handle("shop")) == "store"
        assert tx.apps.name_of(Handle("nope")) is None
        assert (tx.apps.handle("shop"), tx.apps.handle("nope")) == ("shop-3", "nope")
    assert handles == {"shop": "shop-3", "shop-2": "shop-2", "store": "shop"}


def _begin_deploy(tx: Transaction) -> None:
    tx.deploys.begin("shop", "push", "anna", None, None, NOW)


def _begin_cron(tx: Transaction) -> None:
    tx.cron.open_run("shop", "tidy", NOW, trigger=Trigger.MANUAL, state=RunState.DUE, release=1, serial=None, now=NOW)


def _begin_run(tx: Transaction) -> None:
    tx.runs.add(one_off(RunState.RUNNING))


def _take_address(tx: Transaction) -> None:
    tx.apps.create("blog", NOW)
    tx.faces.add_domain("blog", "store.localhost", "anna", NOW)


@pytest.mark.parametrize(
    ("prepare", "new", "code", "sentence"),
    [
        (None, "shop", 2, "shop has that name already: give another"),
        (None, "Store", 2, "'Store' is not an app name"),
        (None, "blog", 1, "there is an app 'blog' already: choose another name"),
        (_take_address, "store", 1, "store.localhost is in use by another app: choose another name"),
        (_begin_deploy, "store", 1, "deploy 1 of shop is under way: rename it when that has ended"),
        (
            _begin_cron,
            "store",
            1,
            "run 1 of tidy is under way: wait for its end or 'cron:cancel shop 1', then rename",
        ),
        (_begin_run, "store", 1, "run.1 of shop is under way: wait for its end or 'run:stop shop run.1', then"),
    ],
)
async def test_what_can_not_be_is_refused(office: Office, prepare: object, new: str, code: int, sentence: str) -> None:
    office.add_app("shop", 1)
    with office.store.write() as tx:
        if callable(prepare):
            prepare(tx)
        else:
            tx.apps.create("blog", NOW)
    before = texts(office)
    done = await office.run("apps:rename", "shop", new)
    assert (done.code, sentence in done.err) == (code, True), done.err
    after = texts(office)
    assert after | {place: found for place, found in before.items() if place.startswith("events.")} == before


async def test_folders_that_can_not_be_moved_are_moved_by_the_next_server(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(office)
    leftover = office.folder / "repos" / "store.git" / "leftover"
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", _refuse)
        done = await office.run("apps:rename", "shop", "store")
    assert done.err == "the folders of store still have its old name shop (no space): restart the server"
    assert (await office.run("apps:create", "shop")).err.startswith("the folders of an app that was 'shop' still")
    move_folders(office.parts)
    assert not leftover.exists()
    for folder in FOLDERS:
        assert (office.folder / folder.format("store")).exists()
    move_folders(office.parts)
    assert (await office.run("apps:create", "shop")).code == 0


def _refuse(*_: object) -> None:
    raise OSError(28, "no space")


async def test_kept_address_is_the_apps_until_it_is_removed(office: Office) -> None:
    office.add_app("shop")
    done = await office.run("apps:rename", "shop", "store", "--keep-address")
    assert "it answers at its old address too, until 'domains:remove store shop.localhost'" in done.out
    assert "shop.localhost is in use by another app" in (await office.run("apps:create", "shop")).err
    assert (await office.run("domains:remove", "store", "shop.localhost")).code == 0
    assert (await office.run("apps:create", "shop")).code == 0


def test_a_log_that_is_not_kept_here_is_not_moved(office: Office) -> None:
    with pytest.raises(StoreError):
        type(office.parts.logbook)().of("shop")
    type(office.parts.logbook)().rename("shop", "store")
