"""The router's requests, from the file that it writes into the logs of the apps.

The router writes a JSON object per request and starts a new file when one is full; what it writes has no query, no
headers and no address (runtime.routes). Each line that is taken over carries its position, so a server that was away
goes on exactly where it stopped, as long as the router's files reach.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from runtime.errors import LockstepError, StoreError, explain
from runtime.logbook.entry import Entry, LogKind, stamp
from runtime.model import WEB
from runtime.parts import Parts, routes_of
from runtime.routes import ACCESS_LOG

log = logging.getLogger(__name__)

PERIOD: Final = 1.0  # seconds between looks at the file
CHUNK: Final = 256 * 1024  # bytes taken at a time
LONGEST_PATH: Final = 1000  # characters of a path that are kept
LONGEST_METHOD: Final = 20
HOSTS_AGE: Final = 1.0  # seconds after which a host that is not known is looked up again


class AccessLog:
    """Implements `runtime.logbook.logbook.Source`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._folder = parts.settings.router_run
        self._file: IO[bytes] | None = None
        self._inode = 0  # of the open file, which keeps it from being another's
        self._name = ""  # of the open file
        self._failed = False  # the last look at the file, which was said
        self._hosts: dict[str, tuple[str, str]] = {}  # host -> app, and the moment it was made
        self._hosts_at = float("-inf")
        self._ahead: dict[str, tuple[str, int]] = {}  # app -> name and offset behind its last line, until we are there

    async def run(self) -> None:
        """Until it is cancelled."""
        self._parts.logbook.sources.append(self)
        try:
            while True:
                more = self._try()
                await asyncio.sleep(0 if more else PERIOD)
        finally:
            self._parts.logbook.sources.remove(self)
            self.close()

    async def read_out(self, app: str, release: int | None, seconds: float) -> list[str]:
        """As in Source; a request does not end with a container."""
        return []

    def forget(self, app: str) -> None:
        """As in Source; what the router wrote until now is still taken over."""
        while self._file is not None and self._try():
            pass
        self._hosts = {host: owner for host, owner in self._hosts.items() if owner[0] != app}
        self._ahead.pop(app, None)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def take(self) -> bool:
        """Take over some lines; False when there are no more for now."""
        if self._file is None and not self._begin():
            return False
        newest = _inode_of(self._folder / ACCESS_LOG)  # before the look at the file, which is complete if it is another
        start, data = self._read()
        if data:
            self._keep(start, data)
            return True
        return newest not in (None, self._inode) and self._turn()

    def _try(self) -> bool:
        """`take`, whatever the disk says to it; it goes on later."""
        try:
            more = self.take()
        except (LockstepError, OSError) as error:
            if not self._failed:
                log.warning("requests are not logged for now: %s", explain(error))
            self._failed = True
            return False
        self._failed = False
        return more

    # ---- the router's files --------------------------------------------------------------------------------

    def _files(self) -> list[tuple[Path, str]]:
        """Oldest first, without empty ones, each with our name for it: the router renames them."""
        old = sorted(self._folder.glob(f"{Path(ACCESS_LOG).stem}-*.log"))
        found = ((path, _name_of(path)) for path in (*old, self._folder / ACCESS_LOG))
        return [(path, name) for path, name in found if name is not None]

    def _begin(self) -> bool:
        """Open the file at which an earlier server stopped, a little before that: it wrote app by app."""
        files = self._files()
        if not files:
            return False
        order = {name: index for index, (_, name) in enumerate(files)}
        with self._parts.store.read() as tx:
            apps = [app.name for app in tx.apps.all()]
        reached = {app: position for app in apps if (position := _position(self._parts.logbook.of(app).cursors.router))}
        self._ahead = {app: position for app, position in reached.items() if position[0] in order}
        name, offset = max(self._ahead.values(), key=lambda it: (order[it[0]], it[1]), default=(files[0][1], 0))
        self._open(*files[order[name]], max(0, offset - CHUNK))
        return True

    def _turn(self) -> bool:
        """Go on with the next file."""
        files = self._files()
        names = [name for _, name in files]
        if self._name in names:
            following = names.index(self._name) + 1
        else:
            log.warning("requests are missing: the router wrote more than its files hold before it was read")
            following = 0
        self._ahead = {app: position for app, position in self._ahead.items() if position[0] != self._name}
        if following >= len(files):
            return False
        self._open(*files[following], 0)
        return True

    def _open(self, path: Path, name: str, offset: int) -> None:
        self.close()
        self._name = name
        self._file = path.open("rb")
        self._inode = os.fstat(self._file.fileno()).st_ino
        if offset:
            self._file.seek(offset - 1)
            self._file.readline()  # to the next beginning of a line

    def _read(self) -> tuple[int, bytes]:
        """Whole lines, and where they begin."""
        assert self._file is not None
        start = self._file.tell()
        data = self._file.read(CHUNK)
        whole = data.rfind(b"\n") + 1
        if not whole and len(data) == CHUNK:
            whole = len(data)  # no request makes such a line
        self._file.seek(start + whole)
        return start, data[:whole]

    # ---- lines ---------------------------------------------------------------------------------------------

    def _keep(self, start: int, data: bytes) -> None:
        found: dict[str, list[Entry]] = defaultdict(list)
        offset = start
        for line in data.splitlines(keepends=True):
            offset += len(line)
            request = read_request(line)
            app = None if request is None else self._owner(request)
            if request is not None and app is not None and not self._is_known(app, offset):
                found[app].append(request.entry(f"{self._name}:{offset}"))
        for app, entries in found.items():
            try:
                self._parts.logbook.append(app, entries)
            except StoreError as error:
                log.warning("%d requests of %s are lost: %s", len(entries), app, explain(error))

    def _is_known(self, app: str, offset: int) -> bool:
        """Whether an earlier server took that line over."""
        if app not in self._ahead:
            return False
        name, reached = self._ahead[app]
        if name == self._name and offset > reached:
            del self._ahead[app]
            return False
        return True

    def _owner(self, request: Request) -> str | None:
        """The app of the host, if it was there at that moment."""
        if request.host not in self._hosts and time.monotonic() - self._hosts_at >= HOSTS_AGE:
            self._hosts, self._hosts_at = self._look_up(), time.monotonic()
        app, made = self._hosts.get(request.host, (None, ""))
        return app if request.moment >= made else None

    def _look_up(self) -> dict[str, tuple[str, str]]:
        with self._parts.store.read() as tx:
            apps = {app.handle: (app.name, stamp(app.created_at)) for app in tx.apps.all()}
        targets = routes_of(self._parts.settings, self._parts.store)
        return {host: apps[target.app] for target in targets if target.app in apps for host in target.hosts}


@dataclass(frozen=True)
class Request:
    """What the router tells of one request."""

    moment: str
    host: str
    text: str  # "GET /path 200 12ms 345B"

    def entry(self, source: str) -> Entry:
        return Entry(self.moment, LogKind.ROUTER, WEB, self.text, source=source)


def read_request(line: bytes) -> Request | None:
    """The request of a line of the router's file; None for one that is damaged."""
    try:
        found = json.loads(line)
        asked = found["request"]
        path = str(asked["uri"]).partition("?")[0]
        path = path if len(path) <= LONGEST_PATH else f"{path[:LONGEST_PATH]}…"
        took, size = float(found["duration"]), int(found["size"])
        text = f"{str(asked['method'])[:LONGEST_METHOD]} {path} {int(found['status'])} {took * 1000:.0f}ms {size}B"
        return Request(str(found["ts"]), _host(str(asked["host"])), text)
    except (ValueError, KeyError, TypeError):
        return None


def _host(text: str) -> str:
    name, colon, port = text.rpartition(":")
    return (name if colon and port.isdigit() else text).lower().rstrip(".")


def _inode_of(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _name_of(path: Path) -> str | None:
    """A name that follows from the first line, which has a moment; None when there is none yet."""
    try:
        with path.open("rb") as file:
            first = file.readline(CHUNK)
    except FileNotFoundError:
        return None
    return hashlib.sha256(first).hexdigest()[:16] if first.endswith(b"\n") else None


def _position(text: str | None) -> tuple[str, int] | None:
    name, _, offset = (text or "").partition(":")
    return (name, int(offset)) if offset.isdigit() else None
