"""What the operations of the runtime work with, put together once at start-up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from runtime import names
from runtime.engine.fleet import Fleet
from runtime.engine.specs import Place
from runtime.logbook.logbook import Logbook
from runtime.model import Release
from runtime.place import place_in, scaled_in
from runtime.router import Router
from runtime.routes import Route
from runtime.services.redis import SharedRedis
from runtime.settings import Settings
from runtime.store import Store


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


def hosts_of(settings: Settings, release: Release) -> tuple[str, ...]:
    """The host names of an app, the one its manifest asks for first."""
    own = settings.host_of(release.app)
    asked = release.spec.host
    return (own,) if asked is None or asked == own else (asked, own)


def route_of(settings: Settings, release: Release) -> Route | None:
    """Where the router sends the app's requests while `release` is live; None for an app without web."""
    web = release.spec.web
    if web is None or web.port is None:
        return None
    service = names.service(settings.instance, release.app, web.name, release.number)
    return Route(release.app, hosts_of(settings, release), service, web.port)


def routes_of(settings: Settings, store: Store) -> tuple[Route, ...]:
    """The routes of all live releases: what the store says the router's config is."""
    with store.read() as tx:
        live = [tx.releases.current(app.name) for app in tx.apps.all()]
    found = (route_of(settings, release) for release in live if release is not None)
    return tuple(target for target in found if target is not None)


def place_of(settings: Settings, store: Store, release: Release) -> Place:
    """Where the processes of a release run, and the credentials of its services."""
    with store.read() as tx:
        return place_in(tx, settings.instance, release)


def scaled(store: Store, release: Release) -> Release:
    """The release with the replicas that an operator asked for in the place of its manifest's."""
    with store.read() as tx:
        return scaled_in(tx, release)
