"""One instance for each test file, on the real engine; what breaks it comes from the tests."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.driver import Instance, Work, free_port
from tests.chaos.observer import APP

SETTLE = "0.3"  # seconds that new workers are watched; the app's worker fails at once or never


@contextmanager
def chaos_instance(**settings: str) -> Iterator[Instance]:
    """An instance with everything it made gone at the end, whatever the test did to it."""
    folder = Path(tempfile.mkdtemp(prefix="lockstep-chaos-"))
    instance = Instance(
        folder / "home", name=f"chaos{secrets.token_hex(4)}", ssh_port=free_port(), http_port=free_port()
    )
    instance.init()
    instance.environment.update({"LOCKSTEP_HEALTH_DEADLINE": "10", "LOCKSTEP_SETTLE": SETTLE, **settings})
    try:
        instance.start()
        yield instance
    finally:
        instance.stop()
        done = instance.destroy()
        shutil.rmtree(folder)
        assert done.code == 0, done.err


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with chaos_instance() as instance:
        yield instance


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """A working copy of the chaos app."""
    path = tmp_path_factory.mktemp("chaos") / "work"
    shutil.copytree(APP, path)
    return Work.init(path)


def change(work: Work) -> None:
    """A commit that changes the image."""
    work.write({"note": secrets.token_hex(8)})
    work.commit()
