"""The processes of which none runs, and by whose word: `ps:stop` stops one, `ps:scale` gives it a number."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from runtime.errors import LockstepError
from runtime.model import Release
from runtime.place import scaled_in
from runtime.store import Store, Transaction
from runtime.store.faces import ALL
from runtime.story import Story


class Idle(StrEnum):
    """Why none of a process runs."""

    STOPPED = "stopped"  # until 'ps:start', whatever its number of replicas
    SCALED = "scaled to 0"


def idle_in(tx: Transaction, release: Release) -> dict[str, Idle]:
    """By the processes' names."""
    stopped = tx.faces.stopped(release.app)
    return {
        process.name: Idle.STOPPED if stopped & {process.name, ALL} else Idle.SCALED
        for process in scaled_in(tx, release).spec.processes
        if process.replicas == 0
    }


def check_runs(store: Store, release: Release, process: str | None) -> None:
    """Raises LockstepError, with what ends it, when none of a process is to run, or without one of all."""
    with store.read() as tx:
        idle = idle_in(tx, release)
    wanted = [item.name for item in release.spec.processes if process in (None, item.name)]
    if wanted and idle.keys() >= {*wanted}:
        raise LockstepError("; ".join(_sentences(release.app, {name: idle[name] for name in wanted})))


def tell_stopped(store: Store, release: Release, story: Story) -> None:
    """Say in a deploy's story which processes it leaves stopped."""
    with store.read() as tx:
        stopped = [name for name, why in idle_in(tx, release).items() if why is Idle.STOPPED]
    if stopped:
        story.step(f"Leaving {', '.join(stopped)} stopped: {_remedy(release.app, Idle.STOPPED, stopped)}")


def _sentences(app: str, idle: dict[str, Idle]) -> Iterable[str]:
    for why in Idle:
        if names := [name for name, found in idle.items() if found is why]:
            yield f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {why.value}: {_remedy(app, why, names)}"


def _remedy(app: str, why: Idle, names: list[str]) -> str:
    words = ("ps:start", app, *names) if why is Idle.STOPPED else ("ps:scale", app, *(f"{name}=1" for name in names))
    return f"'{' '.join(words)}' starts {'it' if len(names) == 1 else 'them'}"
