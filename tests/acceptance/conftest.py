"""One instance for each test process, on the real engine, driven with the real git and ssh."""

from __future__ import annotations

import itertools
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.driver import Instance, free_port

_numbers = itertools.count(1)


def make_instance(name: str, **environment: str) -> Iterator[Instance]:
    """An instance in a short folder (unix sockets have short paths), gone with all it made at the end."""
    folder = Path(tempfile.mkdtemp(prefix="lockstep-"))
    instance = Instance(folder / "home", name=name, ssh_port=free_port(), http_port=free_port())
    instance.init()
    instance.environment.update({"LOCKSTEP_HEALTH_DEADLINE": "10", **environment})
    try:
        instance.start()
        yield instance
    finally:
        instance.stop()
        done = instance.destroy()
        shutil.rmtree(folder)
        assert done.code == 0, done.err


@pytest.fixture(scope="session")
def instance(worker_id: str) -> Iterator[Instance]:
    yield from make_instance(f"test-{worker_id}-{secrets.token_hex(3)}")


@pytest.fixture
def app(worker_id: str) -> str:
    """A name no other test has."""
    return f"app{next(_numbers)}"
