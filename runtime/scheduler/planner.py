"""Which of many things is due next, without looking at each."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from datetime import datetime
from typing import Generic, TypeVar

Thing = TypeVar("Thing", bound=Hashable)


class Planner(Generic[Thing]):
    """A heap of moments. What was planned anew or dropped stays in it and is passed over when it comes up."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Thing]] = []
        self._planned: dict[Thing, datetime] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._planned)

    def put(self, thing: Thing, moment: datetime) -> None:
        """Plan it for `moment`, and no longer for any other."""
        if self._planned.get(thing) == moment:
            return
        self._planned[thing] = moment
        self._count += 1
        heapq.heappush(self._heap, (moment, self._count, thing))
        if len(self._heap) > 2 * len(self._planned) + 64:
            self._tidy()

    def drop(self, thing: Thing) -> None:
        self._planned.pop(thing, None)

    def moment(self, thing: Thing) -> datetime | None:
        return self._planned.get(thing)

    def next(self) -> datetime | None:
        """The earliest moment that something is planned for."""
        while self._heap:
            moment, _, thing = self._heap[0]
            if self._planned.get(thing) == moment:
                return moment
            heapq.heappop(self._heap)
        return None

    def take(self, now: datetime, most: int) -> list[Thing]:
        """Up to `most` things planned for `now` or before, the longest due first; they are planned no more."""
        found: list[Thing] = []
        while len(found) < most and (moment := self.next()) is not None and moment <= now:
            thing = heapq.heappop(self._heap)[2]
            del self._planned[thing]
            found.append(thing)
        return found

    def _tidy(self) -> None:
        self._heap = [entry for entry in self._heap if self._planned.get(entry[2]) == entry[0]]
        heapq.heapify(self._heap)
