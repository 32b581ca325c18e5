"""Looking at what is there of an instance, in whatever state its engine is. Changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from runtime import names
from runtime.engine.swarm import SwarmState
from runtime.errors import LockstepError
from runtime.model import Release
from runtime.parts import Parts
from runtime.recovery.plan import AppFound, Found
from runtime.recovery.refusal import unusable
from runtime.survey import Survey, Wanted, lacks, survey, wanted_of

HasCommit = Callable[[str, str], Awaitable[bool]]  # app, commit: whether the app's repository has it


async def look(parts: Parts, has_commit: HasCommit) -> Found:
    """Raises LockstepError when the engine does not answer, or is in a swarm that is not ours to change."""
    swarm = await parts.fleet.swarm()
    refusal = unusable(swarm)
    if refusal is not None:
        raise LockstepError(refusal)
    seen = await survey(parts) if swarm.state is SwarmState.WELL else None
    images, volumes = await _images(parts), await _volumes(parts)
    wanted = _wanted(parts)
    apps = [await _app(parts, want, release, seen, images, volumes, has_commit) for want, release in wanted]
    with_redis = any(app.release.spec.redis for app in apps)
    return Found(
        swarm=swarm,
        apps=tuple(apps),
        strays=len(await parts.fleet.strays()),
        down=await _down(parts, with_redis=with_redis) if apps else (),
        redis_lost=with_redis and names.platform(parts.settings.instance, "redis") not in volumes,
        images_gone=_images_gone(parts, images),
    )


def _wanted(parts: Parts) -> list[tuple[Wanted, Release]]:
    with parts.store.read() as tx:
        wanted = [wanted_of(tx, parts.settings.instance, app) for app in tx.apps.all()]
    return [(want, want.release) for want in wanted if want.release is not None]


async def _app(
    parts: Parts,
    wanted: Wanted,
    release: Release,
    seen: Survey | None,
    images: frozenset[str],
    volumes: frozenset[str],
    has_commit: HasCommit,
) -> AppFound:
    instance, folders = parts.settings.instance, release.spec.persist
    there = tuple(folder for folder in folders if names.volume(instance, release.handle, folder) in volumes)
    return AppFound(
        release=release,
        runs=seen is not None and not lacks(parts, seen, wanted),
        image=release.image.id in images,
        commit=await has_commit(release.app, release.commit),
        lost=tuple(folder for folder in folders if folder not in there),
        kept=there,
    )


async def _images(parts: Parts) -> frozenset[str]:
    return frozenset(str(image["Id"]) for image in await parts.fleet.engine.get("/images/json"))


async def _volumes(parts: Parts) -> frozenset[str]:
    filters = {"label": [f"{names.INSTANCE}={parts.settings.instance}"]}
    found = await parts.fleet.engine.get("/volumes", filters=filters)
    return frozenset(str(volume["Name"]) for volume in found["Volumes"] or ())


async def _down(parts: Parts, *, with_redis: bool) -> tuple[str, ...]:
    found = await parts.fleet.containers(kind=names.PLATFORM)
    running = {name.removeprefix("/") for item in found if item["State"] == "running" for name in item["Names"]}
    needed = ["router", *(["redis"] if with_redis else [])]
    return tuple(part for part in needed if names.platform(parts.settings.instance, part) not in running)


def _images_gone(parts: Parts, images: frozenset[str]) -> tuple[tuple[str, int], ...]:
    """Releases that can be gone back to as far as the store knows, and can not."""
    with parts.store.read() as tx:
        return tuple(
            (app.name, release.number)
            for app in tx.apps.all()
            for release in tx.releases.with_image(app.name)
            if release.number != app.current_release and release.image.id not in images
        )
