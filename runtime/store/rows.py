"""What the nouns of the store share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Executable, Row


class Rows:
    """Statements in the transaction of `connection`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _one(self, statement: Executable) -> Row[Any] | None:
        return self._connection.execute(statement).one_or_none()

    def _all(self, statement: Executable) -> list[Row[Any]]:
        return list(self._connection.execute(statement))

    def _change(self, statement: Executable) -> int:
        """Run an update or delete; the number of rows it changed."""
        return self._connection.execute(statement).rowcount

    def _add(self, statement: Executable) -> int:
        """Run an insert; the new row's id."""
        key = self._connection.execute(statement).inserted_primary_key
        assert key is not None
        return int(key[0])
