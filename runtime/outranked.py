"""Config values that a process does not see, since the platform sets the same name itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from runtime.engine.specs import Place, environment
from runtime.model import Release
from runtime.parts import Parts, place_of

MARK: Final = "\0"  # which no value holds
ONCE: Final = "hooks, cron jobs and one-off runs"


def outranked(parts: Parts, app: str, names: Iterable[str]) -> list[str]:
    """A sentence for each of the names that the platform sets for the live release; none before there is one."""
    with parts.store.read() as tx:
        live = tx.releases.current(app)
    if live is None:
        return []
    found = where(live, place_of(parts.settings, parts.store, live), names)
    return [f"{name} is set by the platform, whose value wins in {', '.join(places)}" for name, places in found.items()]


def where(release: Release, place: Place, names: Iterable[str]) -> dict[str, list[str]]:
    """Name -> the processes that see the platform's value; ONCE stands for what has no row in the process table.

    It is read off the environment itself: what would not come through is outranked.
    """
    asked = sorted(names)
    marked = release.model_copy(update={"config": dict.fromkeys(asked, MARK)})
    ports = {process.name: process.port for process in release.spec.processes}
    ports[ONCE] = None if release.spec.web is None else release.spec.web.port
    seen = {process: environment(marked, process, place, port=port) for process, port in ports.items()}
    found = {name: [process for process, env in seen.items() if f"{name}={MARK}" not in env] for name in asked}
    return {name: processes for name, processes in found.items() if processes}
