"""The migrations and the schema describe the same database."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from sqlalchemy import create_engine

from runtime.store import prepare_store
from runtime.store.schema import metadata


def shape(path: Path) -> dict[str, str]:
    """Name -> statement of everything in a database but what belongs to Alembic, white space folded."""
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    database.close()
    return {name: re.sub(r"\s+", " ", sql) for name, sql in rows if not name.startswith(("alembic", "sqlite_"))}


def test_migrations_end_in_the_schema(tmp_path: Path) -> None:
    prepare_store(tmp_path / "migrated.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    metadata.create_all(engine)
    engine.dispose()
    assert shape(tmp_path / "migrated.db") == shape(tmp_path / "made.db")
