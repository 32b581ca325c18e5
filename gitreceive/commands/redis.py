"""redis:info."""

from __future__ import annotations

from gitreceive.commands.base import app_argument, json_option, registry
from gitreceive.commands.desk import Desk
from runtime.errors import LockstepError
from runtime.model import MIB, Role
from runtime.place import REDIS_HOST, REDIS_PORT, prefix_of
from runtime.services.redis import COUNTED, MEMORY


@registry.command("redis:info", role=Role.VIEWER)
@app_argument
@json_option
async def info(desk: Desk, app: str) -> None:
    """Show what an app has in the shared Redis: its user, its prefix, its keys.

    The password is in REDIS_URL, for developers: 'run APP printenv REDIS_URL'.

    ssh paas@HOST -- redis:info shop
    """
    with desk.parts.store.read() as tx:
        handle, password = tx.apps.get(app).handle, tx.apps.redis_password(app)
        release = tx.releases.current(app)
    if password is None:
        raise LockstepError(f"{app} has no redis: set 'redis: true' in its manifest and push it")
    redis = desk.parts.redis
    use, refusal = await redis.use(handle), await redis.lets_in(handle, password)
    facts = {
        "app": app,
        "user": handle,
        "prefix": prefix_of(handle),
        "address": f"{REDIS_HOST}:{REDIS_PORT}",
        "let_in": "yes" if refusal is None else refusal,
        "used_by_release": "yes" if release is not None and release.spec.redis else "no",
        "keys": use.keys if use.keys < COUNTED else f"{COUNTED} or more",
        "connections": use.connections,
        "memory_of_all_apps": f"{use.memory / MIB:.1f} of {MEMORY / MIB:g} MiB",
        "version": use.version,
    }
    desk.show_one(f"{app} redis", facts)
