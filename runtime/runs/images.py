"""What is in the image of a release."""

from __future__ import annotations

import io
import re
import tarfile
from contextlib import AbstractAsyncContextManager
from typing import Final

from runtime import names
from runtime.engine.client import Engine
from runtime.engine.inside import SHELL, has_file, unstarted
from runtime.errors import EngineError, LockstepError, NotFound
from runtime.model import MIB, Release
from runtime.parts import Parts
from runtime.runs.describe import DOCKERFILE

USERS: Final = "/etc/passwd"
USERS_LIMIT: Final = MIB  # bytes of an image's list of users
STEP: Final = 64 * 1024
_NUMBERS: Final = re.compile(r"([0-9]{1,10})(?::([0-9]{1,10}))?")


async def has_shell(parts: Parts, release: Release, name: str) -> bool:
    """Whether its image has a shell; the container's `name` is free to use."""
    if DOCKERFILE not in release.image.languages:
        return True
    async with _unstarted(parts, release, name):
        return await has_file(parts.fleet.engine, name, SHELL)


async def owner_of(parts: Parts, release: Release, name: str) -> str:
    """ "UID:GID" of the user that its image runs as; the container's `name` is free to use. Raises LockstepError."""
    asked = str((await parts.fleet.engine.get(f"/images/{release.image.id}/json"))["Config"].get("User") or "0:0")
    match = _NUMBERS.fullmatch(asked)
    if match is not None:
        return f"{match[1]}:{match[2] or match[1]}"
    async with _unstarted(parts, release, name):
        users = await _read(parts.fleet.engine, name, USERS, USERS_LIMIT)
    known = asked.partition(":")[0]
    for line in users.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[0] == known and _NUMBERS.fullmatch(f"{fields[2]}:{fields[3]}"):
            return f"{fields[2]}:{fields[3]}"
    raise LockstepError(f"the image of {release.app} runs as '{known[:40]}', which it does not know: its USER is wrong")


def _unstarted(parts: Parts, release: Release, name: str) -> AbstractAsyncContextManager[None]:
    labels = names.labels(parts.settings.instance, names.ONE_OFF, app=release.handle)
    return unstarted(parts.fleet.engine, release.image.id, name, labels)


async def _read(engine: Engine, container: str, path: str, limit: int) -> str:
    """The text of a file in a container; empty when it has none."""
    data = bytearray()
    try:
        where = f"/containers/{container}/archive"
        async with engine.request("GET", where, {"path": path}, streaming=True) as response:
            async for chunk in response.content.iter_chunked(STEP):
                data += chunk
                if len(data) > limit:
                    raise EngineError(f"{path} of the image is over {limit} bytes")
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            entry = tar.next()
            file = tar.extractfile(entry) if entry is not None and entry.isfile() else None
            return "" if file is None else file.read().decode(errors="replace")
    except NotFound:
        return ""
    except tarfile.TarError as error:
        raise EngineError(f"{path} of the image can not be read: {error}") from None
