"""Which service each app's requests go to: one symbolic link per app, named by its handle, which the router looks at
for every request.

    live/shop -> ../targets/lockstep-shop-web-v3@8000     a folder with one empty file of that name

A rename puts another link in its place, so one request goes to the old release and the next to the new one, on
whatever connection it comes. (A change of the router's config does not do that: a connection that a browser opened
ahead and has not used is served by the config before the change for five seconds more.)
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.names import Handle

LIVE: Final = "live"
TARGETS: Final = "targets"


@dataclass(frozen=True)
class Target:
    """The tasks of a service, at a port."""

    service: str
    port: int

    @property
    def name(self) -> str:
        return f"{self.service}@{self.port}"


class Switchboard:
    """The links, in the folder that the router's container sees."""

    def __init__(self, folder: Path) -> None:
        self._live = folder / LIVE
        self._targets = folder / TARGETS

    def point(self, app: Handle, target: Target) -> bool:
        """Send the app's requests there from now on; False when they went there before."""
        if self.target(app) == target:
            return False
        self._make(target)
        link = self._live / f".{app}"
        link.unlink(missing_ok=True)
        link.symlink_to(Path("..", TARGETS, target.name))
        link.replace(self._live / app)
        _sync(self._live)
        return True

    def forget(self, app: Handle) -> bool:
        """Send the app's requests nowhere; False when they went nowhere before."""
        try:
            (self._live / app).unlink()
        except FileNotFoundError:
            return False
        return True

    def target(self, app: Handle) -> Target | None:
        """Where the app's requests go; None when nowhere, also when what is there can not be followed."""
        try:
            name = (self._live / app).readlink().name
        except OSError:
            return None
        service, _, port = name.rpartition("@")
        if not port.isdigit() or not (self._live / app / name).is_file():
            return None
        return Target(service, int(port))

    def apps(self) -> list[Handle]:
        """All that have a link."""
        if not self._live.is_dir():
            return []
        return sorted(Handle(entry.name) for entry in self._live.iterdir() if not entry.name.startswith("."))

    def tidy(self) -> None:
        """Remove the targets that no link leads to. A request may still be looking at one that was left just now."""
        used = {self.target(app) for app in self.apps()}
        names = {target.name for target in used if target is not None}
        for folder in self._targets.iterdir() if self._targets.is_dir() else ():
            if folder.name not in names:
                shutil.rmtree(folder)

    def _make(self, target: Target) -> None:
        folder = self._targets / target.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / target.name).touch()
        self._live.mkdir(exist_ok=True)


def _sync(folder: Path) -> None:
    """Have the renames in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
