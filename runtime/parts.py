"""What the operations of the runtime work with, put together once at start-up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from runtime import names, pages
from runtime.engine.fleet import Fleet
from runtime.engine.specs import Place
from runtime.face import Face
from runtime.logbook.logbook import Logbook
from runtime.model import Release
from runtime.place import place_in, scaled_in
from runtime.router import Router
from runtime.routes import Route
from runtime.services.redis import SharedRedis
from runtime.settings import Settings
from runtime.store import Store, Transaction

PLAIN: Final = Face()


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Parts:
    """The store and its three projections."""

    settings: Settings
    store: Store
    fleet: Fleet
    router: Router
    redis: SharedRedis
    platform_image: str
    wake_scheduler: Callable[[], None]  # tells the scheduler to look at the store again
    clock: Callable[[], datetime] = now
    logbook: Logbook = field(default_factory=Logbook)  # of the server; elsewhere nothing is kept


def hosts_of(settings: Settings, release: Release, face: Face = PLAIN) -> tuple[str, ...]:
    """The host names of an app, the one its manifest asks for first, those that were added to it last."""
    asked = () if release.spec.host is None else (release.spec.host,)
    return tuple(dict.fromkeys((*asked, settings.host_of(release.app), *face.domains)))


def route_of(settings: Settings, release: Release, face: Face = PLAIN) -> Route | None:
    """Where the router sends the app's requests while `release` is live; None for an app without web."""
    web = release.spec.web
    if web is None or web.port is None:
        return None
    service = names.service(settings.instance, release.handle, web.name, release.number)
    closed = None if face.maintenance is None else pages.maintenance(face.maintenance)
    if closed is None and web.replicas == 0:
        closed = pages.STOPPED
    https = settings.https_port if face.https_only else None
    return Route(release.handle, hosts_of(settings, release, face), service, web.port, closed, https)


def route_in(tx: Transaction, settings: Settings, release: Release) -> Route | None:
    """`route_of` the release, with what operators want of its app."""
    return route_of(settings, scaled_in(tx, release), tx.faces.of(release.app))


def live_route(tx: Transaction, settings: Settings, app: str) -> Route | None:
    """The route of the app's live release; None when it has none, or nothing is live."""
    release = tx.releases.current(app)
    return None if release is None else route_in(tx, settings, release)


def routes_of(settings: Settings, store: Store) -> tuple[Route, ...]:
    """The routes of all live releases: what the store says the router's config is."""
    with store.read() as tx:
        found = [live_route(tx, settings, app.name) for app in tx.apps.all()]
    return tuple(target for target in found if target is not None)


def place_of(settings: Settings, store: Store, release: Release) -> Place:
    """Where the processes of a release run, and the credentials of its services."""
    with store.read() as tx:
        return place_in(tx, settings.instance, release)


def scaled(store: Store, release: Release) -> Release:
    """The release with the replicas that an operator asked for in the place of its manifest's."""
    with store.read() as tx:
        return scaled_in(tx, release)
