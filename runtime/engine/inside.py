"""Looking into an image by way of a container of it that is made, never started, and removed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from runtime.engine.client import Engine
from runtime.errors import Conflict, NotFound
from runtime.waiting import see_through

SHELL: Final = "/bin/sh"


@asynccontextmanager
async def unstarted(engine: Engine, image: str, name: str, labels: dict[str, str]) -> AsyncIterator[None]:
    """A container of `image` by the `name`, which is free to use."""
    spec = {"Image": image, "Entrypoint": ["-"], "Labels": labels, "NetworkDisabled": True}
    try:
        await see_through(engine.post("/containers/create", spec, name=name))
        yield
    finally:
        await see_through(_remove(engine, name))


async def has_file(engine: Engine, container: str, path: str) -> bool:
    try:
        async with engine.request("HEAD", f"/containers/{container}/archive", {"path": path}):
            return True
    except NotFound:
        return False


async def _remove(engine: Engine, container: str) -> None:
    with suppress(NotFound, Conflict):  # Conflict: its removal is under way
        await engine.delete(f"/containers/{container}", force=True, v=True)
