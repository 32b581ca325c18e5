"""Domain values and stores as the tests need them: whole, valid, and different only where a test says so."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from runtime.model import (
    AppSpec,
    CronJob,
    Deploy,
    DeployState,
    Dialect,
    Image,
    Key,
    Process,
    ProcessKind,
    Release,
    Role,
)
from runtime.secrets import Vault, make_key
from runtime.settings import Settings
from runtime.store import Store, prepare_store

NOW: Final = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
COMMIT: Final = "1a2b3c4d" + "0" * 32
IMAGE: Final = Image(id="sha256:" + "a" * 64, languages=("python 3.11",), command=("gunicorn", "app:app"))


def web(**changes: Any) -> Process:
    return Process(**{"name": "web", "kind": ProcessKind.WEB, "port": 5000, **changes})


def worker(name: str = "mailer", **changes: Any) -> Process:
    return Process(**{"name": name, "kind": ProcessKind.WORKER, "command": "python mail.py", **changes})


def spec(*processes: Process, **changes: Any) -> AppSpec:
    return AppSpec(**{"dialect": Dialect.PAAS, "processes": processes, **changes})


def release(*processes: Process, number: int = 1, app: str = "shop", **changes: Any) -> Release:
    """`changes` are fields of the release, or of its spec."""
    of_release = {name: changes.pop(name) for name in list(changes) if name in Release.model_fields}
    values = {
        "app": app,
        "number": number,
        "commit": COMMIT,
        "image": IMAGE,
        "spec": spec(*processes, **changes),
        "config": {},
        "created_at": NOW,
        "created_by": "anna",
        "description": "push of 1a2b3c4",
    }
    return Release(**{**values, **of_release})


def cron(name: str = "nightly", **changes: Any) -> CronJob:
    return CronJob(**{"name": name, "schedule": "0 3 * * *", "command": "python report.py", **changes})


def deploy(number: int = 1, app: str = "shop", **changes: Any) -> Deploy:
    values = {
        "id": number,
        "app": app,
        "kind": "push",
        "state": DeployState.QUEUED,
        "who": "anna",
        "commit": COMMIT,
        "release": None,
        "previous": None,
        "started_at": NOW,
    }
    return Deploy(**{**values, **changes})


def key(name: str = "anna", **changes: Any) -> Key:
    public, fingerprint = f"ssh-ed25519 AAAA{name}", f"SHA256:{name}"
    return Key(**{"name": name, "public": public, "fingerprint": fingerprint, "added_at": NOW, **changes})


VIEWER: Final = key("vera", role=Role.VIEWER)
DEVELOPER: Final = key("dora", role=Role.DEVELOPER)
ADMIN: Final = key("anna", role=Role.ADMIN)


def settings(home: Path, **changes: Any) -> Settings:
    return Settings(**{"home": home, "instance": "lockstep", **changes})


def new_vault(folder: Path) -> Vault:
    make_key(folder / "secret.key")
    return Vault(folder / "secret.key")


def new_store(folder: Path) -> Store:
    """A real store in `folder`; its tables are made once for all tests."""
    path = folder / "lockstep.db"
    path.write_bytes(_fresh_database())
    return Store(path, new_vault(folder))


@cache
def _fresh_database() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fresh.db"
        prepare_store(path)
        return path.read_bytes()
