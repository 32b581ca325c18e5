"""Putting the parts of an instance together, and taking them apart in reverse order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from runtime.engine.client import Engine
from runtime.engine.events import Events
from runtime.engine.fleet import Fleet
from runtime.logbook.logbook import Logbook
from runtime.parts import Parts
from runtime.router import Router
from runtime.secrets import Vault
from runtime.services.redis import SharedRedis
from runtime.settings import Settings
from runtime.store import Store


@asynccontextmanager
async def open_parts(
    settings: Settings,
    *,
    platform_image: str = "",
    wake_scheduler: Callable[[], None] = lambda: None,
    even_if_away: bool = False,
) -> AsyncIterator[Parts]:
    """The parts with their connections open and the engine's events followed.

    With `even_if_away` an engine that can not be reached is found out by whoever asks it something.
    """
    vault = Vault(settings.secret_key)
    store = Store(settings.database, vault)
    try:
        async with Engine(settings.engine, even_if_away=even_if_away) as engine:
            events = Events(engine, settings.instance)
            fleet = Fleet(engine, events, settings.instance)
            following = asyncio.create_task(events.run(), name="engine events")
            logbook = Logbook(settings.logs, settings.log_budget)
            try:
                yield Parts(
                    settings=settings,
                    store=store,
                    fleet=fleet,
                    router=Router(fleet, settings),
                    redis=SharedRedis(fleet, settings, vault.derive("redis")),
                    platform_image=platform_image,
                    wake_scheduler=wake_scheduler,
                    logbook=logbook,
                )
            finally:
                logbook.close()
                following.cancel()
                with suppress(asyncio.CancelledError):
                    await following
    finally:
        store.close()
