"""Removing every engine object of one instance, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from runtime import names
from runtime.engine.fleet import Fleet
from runtime.engine.swarm import SwarmState
from runtime.errors import Conflict, NotFound
from runtime.parts import Parts


async def tear_down(fleet: Fleet, say: Callable[[str], None]) -> None:
    """Services first, then what they used. Found by label, so what a crash left behind goes too."""
    lost = (await fleet.swarm()).state in (SwarmState.NONE, SwarmState.BROKEN)
    services = [] if lost else await fleet.services()  # a swarm that is lost took its services along
    await fleet.stop(services)
    for service in services:
        await fleet.remove_service(service)
    containers = await fleet.containers()
    for container in containers:
        await fleet.remove_container(container["Id"])
    say(f"removed {len(services)} services and {len(containers)} containers")
    filters = {"label": [f"{names.INSTANCE}={fleet.instance}"]}
    networks = await fleet.engine.get("/networks", filters=filters)
    for network in networks:
        await fleet.remove_network(network["Name"])
    volumes = (await fleet.engine.get("/volumes", filters=filters))["Volumes"] or []
    for volume in volumes:
        with suppress(NotFound):
            await fleet.engine.delete(f"/volumes/{volume['Name']}", force=True)
    images = await _remove_images(fleet)
    say(f"removed {len(networks)} networks, {len(volumes)} volumes and {images} images")


def forget_images(parts: Parts) -> None:
    """Have the store say what is true now: nothing is live, and no release can be gone back to."""
    with parts.store.write() as tx:
        for app in tx.apps.all():
            tx.apps.set_current(app.name, None)
            for release in tx.releases.with_image(app.name):
                tx.releases.image_is_gone(app.name, release.number)


async def _remove_images(fleet: Fleet) -> int:
    filters = {"label": [f"{names.INSTANCE}={fleet.instance}"]}
    found = await fleet.engine.get("/images/json", filters=filters)
    for image in found:
        for reference in [tag for tag in image["RepoTags"] or [] if tag != "<none>:<none>"] or [image["Id"]]:
            with suppress(NotFound, Conflict):
                await fleet.engine.delete(f"/images/{reference}", force=True)
    return len(found)
