"""How far each source of an app's log has been read: kept in the log itself, so that the two never differ.

A container's two streams are stamped apart by the engine, each in the order of its lines. So a stream has been read
up to a moment and, since lines may share one, so many lines of that moment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from runtime.engine.logs import LogLine
from runtime.logbook.entry import Entry, LogKind, Stream

ID_LENGTH: Final = 16  # characters of a container's id that are kept
SLACK: Final = 1  # seconds; between the two streams the engine's order of lines is not exact

Reached = dict[Stream, tuple[str, int]]  # stream -> moment, and lines of that moment


@dataclass
class Cursors:
    """Of all sources of one app's log."""

    containers: dict[str, Reached] = field(default_factory=dict)
    router: str | None = None  # the position behind the last line of the router's file that is of this app

    def note(self, entry: Entry) -> None:
        """An entry was written."""
        if entry.source is None or entry.stream is Stream.NOTE:
            return
        if entry.kind is LogKind.ROUTER:
            self.router = entry.source
            return
        reached = self.containers.setdefault(entry.source, {})
        moment, count = reached.get(entry.stream, ("", 0))
        reached[entry.stream] = (entry.moment, count + 1 if entry.moment == moment else 1)

    def keep(self, sources: set[str]) -> None:
        """Forget containers that are not among these."""
        self.containers = {source: reached for source, reached in self.containers.items() if source in sources}

    def to_json(self) -> Any:
        return {"containers": self.containers, "router": self.router}

    @classmethod
    def from_json(cls, found: Any) -> Cursors:
        containers = {
            str(source): {Stream(stream): (str(moment), int(count)) for stream, (moment, count) in reached.items()}
            for source, reached in found["containers"].items()
        }
        return cls(containers, found["router"])


class Resume:
    """Which lines of a container are new, from where its log was left until the first new one of each stream."""

    def __init__(self, reached: Reached) -> None:
        self._reached = dict(reached)
        self._met = dict.fromkeys(reached, 0)
        self.since = _seconds(min(moment for moment, _ in reached.values())) if reached else None

    def is_new(self, line: LogLine) -> bool:
        stream = Stream.ERR if line.error else Stream.OUT
        if stream not in self._reached:
            return True
        moment, count = self._reached[stream]
        if line.moment < moment:
            return False
        if line.moment == moment and self._met[stream] < count:
            self._met[stream] += 1
            return False
        del self._reached[stream]
        return True


def _seconds(moment: str) -> str:
    """A little before `moment`, as the engine wants it."""
    whole = datetime.fromisoformat(f"{moment[:19]}+00:00")
    return str(int(whole.timestamp()) - SLACK)
