"""Where an app's processes run, without the clients of router and Redis that `runtime.parts` brings along."""

from __future__ import annotations

from typing import Final

from runtime import names
from runtime.engine.specs import Place
from runtime.model import Process, Release
from runtime.names import Handle
from runtime.store import Transaction
from runtime.store.faces import ALL

REDIS_HOST: Final = "redis"  # the name under which apps find the shared server on their network
REDIS_PORT: Final = 6379
REDIS_PREFIX: Final = "LOCKSTEP_REDIS_PREFIX"


def prefix_of(handle: Handle) -> str:
    """What all keys and channels of an app begin with in the shared Redis."""
    return f"{handle}:"


def redis_url(handle: Handle, password: str) -> str:
    return f"redis://{handle}:{password}@{REDIS_HOST}:{REDIS_PORT}/0"


def place_in(tx: Transaction, instance: str, release: Release) -> Place:
    """The network of a release's processes, and the credentials of its services."""
    password = tx.apps.redis_password(release.app) if release.spec.redis else None
    extra: tuple[tuple[str, str], ...] = ()
    if password is not None:
        extra = (("REDIS_URL", redis_url(release.handle, password)), (REDIS_PREFIX, prefix_of(release.handle)))
    return Place(instance, names.network(instance, release.handle), extra)


def scaled_in(tx: Transaction, release: Release) -> Release:
    """The release with the replicas that an operator asked for in the place of its manifest's; none where stopped."""
    wanted, stopped = tx.apps.scale(release.app), tx.faces.stopped(release.app)

    def replicas(process: Process) -> int:
        return 0 if stopped & {process.name, ALL} else wanted.get(process.name, process.replicas)

    processes = tuple(process.model_copy(update={"replicas": replicas(process)}) for process in release.spec.processes)
    return release.model_copy(update={"spec": release.spec.model_copy(update={"processes": processes})})
