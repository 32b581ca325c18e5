"""The migrations and the schema describe the same database."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from runtime.errors import StoreError
from runtime.secrets import Vault
from runtime.store import Store, prepare_store
from runtime.store.schema import metadata
from runtime.store.store import MIGRATIONS, NEWEST
from tests.unit.runtime import samples

FIRST = MIGRATIONS / "versions/0001_first.sql"


def shape(path: Path) -> dict[str, Any]:
    """What there is in a database but Alembic's own: columns, keys, checks, indexes; in no order."""
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
        found: dict[str, Any] = {}
        for kind, name, sql in rows:
            if name.startswith(("alembic", "sqlite_")):
                continue
            folded = re.sub(r"\s+", " ", sql)
            if kind != "table":
                found[name] = folded
                continue
            columns = {row[1:] for row in database.execute(f"PRAGMA table_info({name})")}
            foreign = {row[2:] for row in database.execute(f"PRAGMA foreign_key_list({name})")}
            unique = sorted(
                tuple(row[2] for row in database.execute(f"PRAGMA index_info({index})"))
                for _, index, is_unique, origin, _ in database.execute(f"PRAGMA index_list({name})")
                if is_unique and origin != "c"
            )
            checks = sorted(re.findall(r"CHECK \(.*?\)(?= ?[,)])", folded))
            found[name] = (columns, foreign, unique, checks, "AUTOINCREMENT" in folded)
    database.close()
    return found


def test_migrations_end_in_the_schema(tmp_path: Path) -> None:
    prepare_store(tmp_path / "migrated.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    metadata.create_all(engine)
    engine.dispose()
    assert shape(tmp_path / "migrated.db") == shape(tmp_path / "made.db")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of the first format with an app that is live."""
    path = tmp_path / "lockstep.db"
    with sqlite3.connect(path) as database:
        database.executescript(FIRST.read_text())
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        database.execute("INSERT INTO alembic_version VALUES ('0001')")
        database.execute(
            "INSERT INTO apps (name, created_at, https_only) VALUES ('shop', '2026-01-02T03:04:05+00:00', 0)"
        )
        shop = samples.release()
        sealed = samples.new_vault(tmp_path).seal_map({})
        database.execute(
            "INSERT INTO releases (app, number, 'commit', image, spec, config, created_at, created_by, description,"
            " image_gone) VALUES ('shop', 1, ?, ?, ?, ?, '2026-01-02T03:04:05+00:00', 'ann', 'push', 0)",
            (shop.commit, shop.image.model_dump_json(), shop.spec.model_dump_json(), sealed),
        )
        database.execute("UPDATE apps SET current_release = 1")
    database.close()
    return path


def test_what_the_first_format_held_is_there_in_the_newest(old: Path) -> None:
    with pytest.raises(StoreError, match=f"in format 0001 and this is {NEWEST}: start the server, which brings it up"):
        Store(old, Vault(old.with_name("secret.key")))
    prepare_store(old)
    store = Store(old, Vault(old.with_name("secret.key")))
    assert store.format() == NEWEST
    with store.read() as tx:
        app, release = tx.apps.get("shop"), tx.releases.current("shop")
    assert (app.handle, app.current_release) == ("shop", 1)
    assert release is not None
    assert (release.handle, release.made_as) == ("shop", None)
    store.close()
