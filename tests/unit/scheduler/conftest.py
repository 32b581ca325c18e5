"""A store for the tests of cron."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runtime.secrets import Vault
from runtime.settings import Settings
from runtime.store import Store
from tests.cronrig import make_home

NOON = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return make_home(tmp_path / "home")


@pytest.fixture
def store(home: Settings) -> Iterator[Store]:
    store = Store(home.database, Vault(home.secret_key))
    yield store
    store.close()


@pytest.fixture
def noon() -> datetime:
    return NOON
