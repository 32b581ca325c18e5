"""One instance for each test process, on the real engine, driven with the real git and ssh."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from scripts.driver import Instance
from tests.instances import new_instance

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def instance(worker_id: str) -> Iterator[Instance]:
    with new_instance(f"test-{worker_id}") as instance:
        yield instance


@pytest.fixture
def app(worker_id: str) -> str:
    """A name no other test has."""
    return f"app{next(_numbers)}"
