"""Instances on the real engine for tests: made, started, and gone with all they made at the end."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.driver import Instance, free_port

HEALTH_DEADLINE = "10"  # seconds; the tests' webs answer at once or never


@contextmanager
def new_instance(kind: str, *init: str, **environment: str) -> Iterator[Instance]:
    """A server that runs, in a short folder (unix sockets have short paths); its name begins with `kind`."""
    folder = Path(tempfile.mkdtemp(prefix="lockstep-"))
    name = f"{kind}{secrets.token_hex(3)}"  # without a hyphen of its own: names on the engine are then plain
    instance = Instance(folder / "home", name=name, ssh_port=free_port(), http_port=free_port())
    instance.init(*init)
    instance.environment.update({"LOCKSTEP_HEALTH_DEADLINE": HEALTH_DEADLINE, **environment})
    try:
        instance.start()
        yield instance
    finally:
        instance.stop()
        done = instance.destroy()
        shutil.rmtree(folder)
        assert done.code == 0, done.err
