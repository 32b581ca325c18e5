"""The images that every build stands on, made once per machine and kept as long as their recipe is the same.

When nothing changed this is one question per image. A file lock keeps two processes from building
at once; what one has made, the other finds.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from builder.base import host, recipes
from builder.base.debian import bootstrap, debian_reference
from builder.base.lock import alone
from builder.base.recipes import LABEL, SUITE, USER, Recipe
from builder.image import StepFailed, build_image
from builder.model import Stack
from builder.progress import BuildEvent
from runtime.engine.client import Engine
from runtime.errors import BuildError, Conflict, DeadlinePassed, EngineError, NotFound

REGISTRY_BASE: Final = f"debian:{SUITE}-slim"
IMAGE_DEADLINE: Final = 1200.0  # seconds to build one stack image
PULL_DEADLINE: Final = 600.0  # seconds to pull the base image
LOCK_FILE: Final = Path(tempfile.gettempdir()) / f"lockstep-stack-{os.geteuid()}.lock"
STALE_AFTER: Final = 86400.0  # seconds that an image stays after its recipe has changed
_HASH_TAG: Final = re.compile(r"[0-9a-f]{12}")  # no tag of an app's image looks like it, whatever the app's name

Say = Callable[[str], None]


async def ensure_stack(engine: Engine, say: Say, *, base_image: str | None = None, lock: Path = LOCK_FILE) -> Stack:
    """The base images for builds, built now where they are missing; `say` gets a line per thing done.

    `base_image` is a Debian image of the operator's choice to start from. `lock` is a file that keeps
    other processes waiting meanwhile. Raises BuildError with the next step, DeadlinePassed, EngineError.
    """
    base, run, build, static = await _stack_recipes(engine, base_image)
    await _ensure(_Kitchen(engine, say), base, [run, build, static], lock)
    return Stack(run=run.reference, build=build.reference, static=static.reference, user=USER)


async def ensure_platform(engine: Engine, say: Say, *, base_image: str | None = None, lock: Path = LOCK_FILE) -> str:
    """The reference of the image with Debian's caddy and redis-server; otherwise as `ensure_stack`."""
    base = await _base_recipe(engine, base_image)
    platform = recipes.platform(base.reference, base.arch)
    await _ensure(_Kitchen(engine, say), base, [platform], lock)
    return platform.reference


async def renew_stack(engine: Engine, say: Say, *, base_image: str | None = None, lock: Path = LOCK_FILE) -> None:
    """Build every stack image anew, for Debian's security updates; otherwise as `ensure_stack`."""
    base, *others = await _stack_recipes(engine, base_image)
    others.append(recipes.platform(base.reference, base.arch))
    kitchen = _Kitchen(engine, say, afresh=True)
    async with alone(lock, say):
        await _make_all(kitchen, base, others)


async def _stack_recipes(engine: Engine, base_image: str | None) -> list[Recipe]:
    base = await _base_recipe(engine, base_image)
    run = recipes.run(base.reference, base.arch)
    return [base, run, recipes.build(run.reference, base.arch), recipes.static(run.reference, base.arch)]


async def _base_recipe(engine: Engine, base_image: str | None) -> Recipe:
    arch = host.debian_arch((await engine.get("/version"))["Arch"])
    parent = base_image or debian_reference(arch)
    if base_image is None and not host.can_bootstrap(arch) and await _find(engine, parent) is None:
        parent = REGISTRY_BASE
    return recipes.base(parent, arch, await asyncio.to_thread(host.certificates))


@dataclass(frozen=True, slots=True)
class _Kitchen:
    engine: Engine
    say: Say
    afresh: bool = False  # take nothing that is there already


async def _ensure(kitchen: _Kitchen, base: Recipe, wanted: list[Recipe], lock: Path) -> None:
    if await _all_there(kitchen.engine, wanted):
        return
    async with alone(lock, kitchen.say):
        await _make_all(kitchen, base, wanted)


async def _all_there(engine: Engine, wanted: list[Recipe]) -> bool:
    """Whether every image is there, and `latest` of each names it."""
    found = await asyncio.gather(*(_find(engine, recipe.reference) for recipe in wanted))
    return all(image and recipe.latest in image["RepoTags"] for recipe, image in zip(wanted, found, strict=True))


async def _make_all(kitchen: _Kitchen, base: Recipe, wanted: list[Recipe]) -> None:
    for recipe in (base, *wanted):
        before = await _find(kitchen.engine, recipe.reference)
        if kitchen.afresh or before is None:
            if recipe is base:
                await _ensure_parent(kitchen, _parent(base))
            await _make(kitchen, recipe)
        await _tag(kitchen.engine, recipe.reference, recipe.latest)
        await _forget(kitchen.engine, before, recipe.reference)
    now = time.time()
    for reference in (_parent(base), *(recipe.reference for recipe in (base, *wanted))):
        if reference.startswith("lockstep/"):
            await remove_stale(kitchen.engine, reference, now)


async def _ensure_parent(kitchen: _Kitchen, parent: str) -> None:
    """Have the Debian that the base image starts from: from packages when its name is ours, else pulled."""
    before = await _find(kitchen.engine, parent)
    ours = parent.startswith("lockstep/debian:")
    if before is not None and not (kitchen.afresh and ours):
        return
    if not ours:
        kitchen.say(f"pulling {parent}")
        await _pull(kitchen.engine, parent)
        return
    kitchen.say("building Debian from its packages")
    started = time.monotonic()
    await bootstrap(kitchen.engine, parent)
    kitchen.say(f"{parent} built in {time.monotonic() - started:.1f} s")
    await _forget(kitchen.engine, before, parent)


async def _make(kitchen: _Kitchen, recipe: Recipe) -> None:
    kitchen.say(f"building {recipe.reference}")
    started = time.monotonic()
    try:
        await build_image(
            kitchen.engine,
            dockerfile_path="Dockerfile",
            context=_context({"Dockerfile": recipe.dockerfile.encode(), **recipe.files}),
            labels={},
            tag=recipe.reference,
            build_args=host.proxy_args(),
            no_cache=kitchen.afresh,
            deadline=IMAGE_DEADLINE,
            report=_ignore,
        )
    except StepFailed as error:
        said = error.log_tail[-1] if error.log_tail else "it said nothing"
        raise BuildError(
            f"the stack image lockstep/{recipe.name} can't be built ({said}): check that this machine "
            "reaches Debian's mirror and pypi.org, and that base_image is a Debian, then start again"
        ) from error
    kitchen.say(f"{recipe.reference} built in {time.monotonic() - started:.1f} s")


async def _pull(engine: Engine, image: str) -> None:
    try:
        async with asyncio.timeout(PULL_DEADLINE):
            answer = engine.lines("POST", "/images/create", fromImage=image)
            async with aclosing(answer) as lines:
                async for line in lines:
                    if "error" in line:
                        raise EngineError(str(line["error"]))
    except TimeoutError:
        raise DeadlinePassed(f"pulling {image}", PULL_DEADLINE) from None
    except EngineError as error:
        raise BuildError(
            f"the base image {image} is not in the engine and can't be pulled: run as root on a Debian machine "
            "with mmdebstrap installed, or set base_image to a Debian image that the engine has"
        ) from error


async def _find(engine: Engine, reference: str) -> dict[str, Any] | None:
    try:
        image: dict[str, Any] = await engine.get(f"/images/{reference}/json")
    except NotFound:
        return None
    return image


async def _tag(engine: Engine, reference: str, name: str) -> None:
    repository, _, tag = name.rpartition(":")
    await engine.post(f"/images/{reference}/tag", repo=repository, tag=tag)


async def remove_stale(engine: Engine, reference: str, now: float) -> None:
    """Remove what older recipes of the image `reference` made, except what is new or in use.

    `now` is in seconds since the epoch. New ones stay, because another instance with other settings
    may have just made them: so the two do not take turns in removing each other's.
    """
    repository, _, current = reference.rpartition(":")
    filters = {"reference": [repository], "label": [f"{LABEL}={repository.removeprefix('lockstep/')}"]}
    for image in await engine.get("/images/json", filters=filters):
        if image["Created"] > now - STALE_AFTER:
            continue
        for name in image["RepoTags"] or ():
            tagged, _, tag = name.rpartition(":")
            if tagged == repository and _HASH_TAG.fullmatch(tag) and tag != current:
                await _remove(engine, name)


async def _forget(engine: Engine, before: dict[str, Any] | None, reference: str) -> None:
    """Remove the image that had the name until now, when it has no other name left."""
    if before is None or before["Id"] == (await engine.get(f"/images/{reference}/json"))["Id"]:
        return
    left = await _find(engine, before["Id"])
    if left is not None and not left["RepoTags"]:
        await _remove(engine, before["Id"])


async def _remove(engine: Engine, image: str) -> None:
    with suppress(Conflict, NotFound):  # in use, or another process was faster
        await engine.delete(f"/images/{image}")


async def _context(files: dict[str, bytes]) -> AsyncIterator[bytes]:
    """A tar of `files`, the same bytes every time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, data in sorted(files.items()):
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    yield buffer.getvalue()


def _parent(base: Recipe) -> str:
    return base.dockerfile.split("\n", 1)[0].removeprefix("FROM ")


def _ignore(event: BuildEvent) -> None:
    """The steps of a stack image are of no interest as long as they succeed."""
