"""Opening the database, its transactions, its format."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import DatabaseError, DBAPIError
from sqlalchemy.pool import QueuePool

from runtime.errors import StoreError
from runtime.secrets import Vault
from runtime.store.alerts import Alerts
from runtime.store.apps import Apps
from runtime.store.cron import Cron
from runtime.store.deploys import Deploys
from runtime.store.faces import Faces
from runtime.store.people import Events, Keys
from runtime.store.releases import Releases
from runtime.store.runs import Runs

MIGRATIONS = Path(__file__).with_name("migrations")
NEWEST = "0003"  # the format that this code reads and writes
BUSY_DEADLINE = 10.0  # seconds that one process waits for the other's transaction


class Transaction:
    """The nouns of the store, all in one transaction."""

    def __init__(self, connection: Connection, vault: Vault) -> None:
        self.apps = Apps(connection, vault)
        self.faces = Faces(connection)
        self.releases = Releases(connection, vault)
        self.deploys = Deploys(connection)
        self.cron = Cron(connection)
        self.alerts = Alerts(connection)
        self.runs = Runs(connection)
        self.keys = Keys(connection)
        self.events = Events(connection)


class Store:
    """Transactions on one database file; `read()` and `write()` are the only ways in.

    Raises StoreError when the file is missing, damaged, or in another format than this code's.
    """

    def __init__(self, path: Path, vault: Vault) -> None:
        if not path.is_file():
            raise StoreError(f"{path} is not there: run 'lockstep init' first")
        self.vault = vault
        self._engine = _open(path)
        _check_format(path, self.format())

    def format(self) -> str | None:
        """The format the file is in, None when it has none."""
        return _format(self._engine)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A consistent view of the database."""
        with self._transaction("BEGIN") as transaction:
            yield transaction

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction that holds the write lock from its first moment; it commits at the end or not at all."""
        with self._transaction("BEGIN IMMEDIATE") as transaction:
            yield transaction

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Transaction]:
        try:
            with self._engine.connect() as connection:
                connection.exec_driver_sql(begin)
                try:
                    yield Transaction(connection, self.vault)
                    connection.exec_driver_sql("COMMIT")
                except BaseException:
                    with suppress(DBAPIError):  # SQLite has ended it already
                        connection.exec_driver_sql("ROLLBACK")
                    raise
        except DBAPIError as error:
            raise StoreError(f"the store did not take a change: {error.orig}") from error

    def close(self) -> None:
        self._engine.dispose()


def prepare_store(path: Path) -> None:
    """Create the database, or bring an older one to this code's format step by step."""
    if path.is_file():
        engine = _open(path)
        found = _format(engine)
        engine.dispose()
        if found == NEWEST:
            return
        if found is not None:
            _check_known(path, found)
    _migrate(path)


def _migrate(path: Path) -> None:
    from alembic import command  # 12 MB that a server whose store is up to date does without
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("sqlalchemy.url", f"sqlite:///{path}")
    command.upgrade(config, "head")


def _open(path: Path) -> Any:
    engine = create_engine(f"sqlite:///{path}", poolclass=QueuePool, pool_size=4, max_overflow=16)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # transactions are begun by name, see Store.write
        for pragma in (
            f"busy_timeout = {int(BUSY_DEADLINE * 1000)}",
            "journal_mode = WAL",
            "synchronous = FULL",  # the commit row must survive a power cut
            "foreign_keys = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _format(engine: Any) -> str | None:
    try:
        with engine.connect() as connection:
            found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DatabaseError as error:
        if "no such table" in str(error):
            return None
        raise StoreError(f"the database can not be read ({error.orig}): restore it from a backup") from error
    return None if found is None else str(found)


def _check_format(path: Path, found: str | None) -> None:
    if found != NEWEST:
        if found is not None:
            _check_known(path, found)
        raise StoreError(f"{path} is in format {found} and this is {NEWEST}: start the server, which brings it up")


def _check_known(path: Path, found: str) -> None:
    if found > NEWEST:
        raise StoreError(f"{path} was written by a newer Lockstep (format {found}): install that version or newer")
