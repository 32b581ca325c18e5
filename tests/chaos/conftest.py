"""One instance for each test file, on the real engine; what breaks it comes from the tests."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from scripts.driver import Instance, Work
from tests.chaos.observer import APP
from tests.instances import new_instance

SETTLE = "0.3"  # seconds that new workers are watched; the app's worker fails at once or never


@contextmanager
def chaos_instance(**settings: str) -> Iterator[Instance]:
    with new_instance("chaos", **{"LOCKSTEP_SETTLE": SETTLE, **settings}) as instance:
        yield instance


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
