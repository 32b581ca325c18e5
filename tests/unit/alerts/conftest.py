"""The store and the moment of the scheduler's tests."""

from __future__ import annotations

from tests.unit.scheduler.conftest import home, noon, store

__all__ = ["home", "noon", "store"]
