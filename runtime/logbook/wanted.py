"""Which lines of an app's log somebody asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from runtime.errors import UsageError
from runtime.logbook.entry import OWN, PLATFORM, Entry, LogKind, Stream, stamp

ALL: Final = "all"
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
AGO: Final = re.compile(r"(?:[0-9]{1,5}[smhd])+")
SPAN: Final = re.compile(r"([0-9]+)([smhd])")
RELEASE: Final = re.compile(r"v?([1-9][0-9]{0,8})")


@dataclass(frozen=True)
class Wanted:
    """All that is asked must be so."""

    kinds: frozenset[LogKind] = OWN
    process: str | None = None  # "web" for all its replicas, "web.1" for one
    since: str | None = None  # a moment as entries have it
    release: int | None = None
    deploys: frozenset[int] = frozenset()  # those that made `release`: what they told belongs to it

    def takes(self, entry: Entry) -> bool:
        if self.since is not None and entry.moment < self.since:
            return False
        if entry.stream is Stream.NOTE and entry.process == PLATFORM:
            return True  # about the log itself, whichever part of it is looked at
        return entry.kind in self.kinds and self.is_of_process(entry) and self._is_of_release(entry)

    def is_of_process(self, entry: Entry) -> bool:
        return self.process is None or self.process in (entry.process, entry.process.partition(".")[0])

    def _is_of_release(self, entry: Entry) -> bool:
        return self.release is None or entry.release == self.release or entry.deploy in self.deploys


def kinds_in(words: Iterable[str]) -> frozenset[LogKind]:
    """From "app,cron", "router", "all"; the app's own when there are none. Raises UsageError."""
    named = [name.strip() for word in words for name in word.split(",")]
    known = {kind.value: kind for kind in LogKind}
    for name in named:
        if name not in known and name != ALL:
            raise UsageError(f"there is no kind of line '{name[:40]}': use {', '.join((*known, ALL))}")
    if ALL in named:
        return frozenset(LogKind)
    return frozenset(known[name] for name in named) or OWN


def since_in(text: str, now: datetime) -> str:
    """The moment of "10m", "1h30m", "3d", or of one in ISO 8601 (in UTC when it names no zone). Raises UsageError."""
    try:
        if AGO.fullmatch(text) is not None:
            return stamp(now - timedelta(seconds=sum(int(number) * UNITS[unit] for number, unit in SPAN.findall(text))))
        moment = datetime.fromisoformat(text)
        return stamp(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise UsageError(f"'{text[:40]}' is no moment: use 10m, 1h30m, 3d or one like 2026-01-02T03:04:05Z") from None


def release_in(text: str) -> int:
    """From "v3" or "3". Raises UsageError."""
    found = RELEASE.fullmatch(text)
    if found is None:
        raise UsageError(f"'{text[:40]}' is no release: use v3 or 3; 'releases' lists them")
    return int(found[1])
