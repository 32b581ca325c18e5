"""One look at what the engine and Redis have, for all apps at once, and what an app lacks in it: few questions,
however many apps there are, so that a round of the reconciler that finds nothing costs next to nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from runtime import names
from runtime.engine import specs
from runtime.engine.specs import Place
from runtime.engine.tasks import Service
from runtime.model import App, Release
from runtime.names import Handle
from runtime.parts import Parts
from runtime.place import place_in, scaled_in
from runtime.services.redis import is_open
from runtime.store import Transaction

ALIVE: Final = ("created", "running", "paused", "restarting")


@dataclass(frozen=True)
class Stranger:
    """A container of somebody else on the network of an app."""

    container: str
    name: str
    app: Handle
    network: str


@dataclass(frozen=True)
class Survey:
    """What was there at one moment, more or less."""

    services: dict[Handle, list[Service]]
    networks: dict[str, Handle]  # by name
    volumes: frozenset[str]
    reached: dict[str, frozenset[str]]  # container of the platform that runs -> the networks it is on
    redis_users: dict[str, str]  # name -> rules
    strangers: tuple[Stranger, ...]
    hooks: frozenset[Handle]  # of apps that have containers of a deploy, which is under way or was left behind


async def survey(parts: Parts) -> Survey:
    """Raises LockstepError when the engine does not answer; a Redis that is away has no users."""
    engine, labels = parts.fleet.engine, [f"{names.INSTANCE}={parts.settings.instance}"]
    services, networks, volumes, containers, hooks, users = await asyncio.gather(
        parts.fleet.services(),
        engine.get("/networks", filters={"label": labels}),
        engine.get("/volumes", filters={"label": labels}),
        engine.get("/containers/json", filters={"status": list(ALIVE)}),
        parts.fleet.containers(kind=names.HOOK),
        parts.redis.users(),
    )
    by_app: dict[Handle, list[Service]] = defaultdict(list)
    for service in services:
        if (app := service.labels.get(names.APP)) is not None:
            by_app[Handle(app)].append(service)
    of_apps = {item["Name"]: Handle(app) for item in networks if (app := item["Labels"].get(names.APP)) is not None}
    return Survey(
        services=dict(by_app),
        networks=of_apps,
        volumes=frozenset(item["Name"] for item in volumes["Volumes"] or ()),
        reached={_name(item): frozenset(_networks(item)) for item in containers if item["State"] == "running"},
        redis_users=users,
        strangers=tuple(_strangers(containers, of_apps, parts.settings.instance)),
        hooks=frozenset(Handle(item["Labels"].get(names.APP, "")) for item in hooks),
    )


@dataclass(frozen=True)
class Wanted:
    """What the store says of one app."""

    app: App
    release: Release | None
    place: Place | None
    redis_password: str | None


def wanted_of(tx: Transaction, instance: str, app: App) -> Wanted:
    current = tx.releases.current(app.name)
    if current is None:
        return Wanted(app, None, None, None)
    password = tx.apps.redis_password(app.name) if current.spec.redis else None
    return Wanted(app, scaled_in(tx, current), place_in(tx, instance, current), password)


def lacks(parts: Parts, seen: Survey, wanted: Wanted) -> bool:
    """Whether the app is anything but its release, as far as the look can tell.

    It holds no lock: a deploy that begins or ends meanwhile makes it wrong, which convergence finds out.
    """
    there = {service.name: service for service in seen.services.get(wanted.app.handle, ())}
    if wanted.app.handle in seen.hooks:
        return True
    if wanted.release is None or wanted.place is None:
        return bool(there)
    for process in wanted.release.spec.processes:
        spec = specs.process_service(wanted.release, process, wanted.place, replicas=process.replicas)
        found = there.pop(str(spec["Name"]), None)
        if found is None or found.replicas != process.replicas or specs.differs(found.spec, spec):
            return True
    return bool(there) or _stage_is_torn(parts, seen, wanted.release, wanted.redis_password)


def _stage_is_torn(parts: Parts, seen: Survey, release: Release, password: str | None) -> bool:
    instance, app = parts.settings.instance, release.handle
    network = names.network(instance, app)
    volumes = {names.volume(instance, app, folder) for folder in release.spec.persist}
    needed = [parts.router.container, *([parts.redis.container] if release.spec.redis else [])]
    return (
        network not in seen.networks
        or any(network not in seen.reached.get(container, ()) for container in needed)
        or (release.spec.redis and not is_open(seen.redis_users.get(app, ""), app, password or ""))
        or not volumes <= seen.volumes
    )


def _strangers(containers: list[dict[str, Any]], networks: dict[str, Handle], instance: str) -> list[Stranger]:
    return [
        Stranger(item["Id"], _name(item), networks[network], network)
        for item in containers
        for network in _networks(item)
        if network in networks and not _belongs(item["Labels"], networks[network], instance)
    ]


def _belongs(labels: dict[str, str], app: Handle, instance: str) -> bool:
    """A container of ours is on the network of its own app; those of the platform have no app and are on many."""
    return labels.get(names.INSTANCE) == instance and labels.get(names.APP, app) == app


def _networks(item: dict[str, Any]) -> list[str]:
    return list((item.get("NetworkSettings") or {}).get("Networks") or ())


def _name(item: dict[str, Any]) -> str:
    return str(item["Names"][0]).removeprefix("/") if item["Names"] else str(item["Id"])[:12]
