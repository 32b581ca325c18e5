"""The trace of what an operator tried: a row that says how it ended, written when it has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from runtime.errors import LockstepError, explain
from runtime.parts import Parts


@contextmanager
def attempt(parts: Parts, app: str, action: str, who: str) -> Iterator[None]:
    """Around what is tried on an app; an error goes on after it is noted."""
    try:
        yield
    except LockstepError as error:
        _note(parts, app, action, who, explain(error))
        raise
    _note(parts, app, action, who, "ok")


def _note(parts: Parts, app: str, action: str, who: str, result: str) -> None:
    with parts.store.write() as tx:
        tx.events.add(who=who, app=app, action=action, result=result, now=parts.clock())
