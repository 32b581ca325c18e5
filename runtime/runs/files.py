"""The durable folders of an app for sftp and scp: a container of the platform's own image that has them and no more."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from runtime import names
from runtime.engine.attach import attach
from runtime.engine.specs import APP_DIR, Spec, hardening, mounts
from runtime.errors import LockstepError
from runtime.model import MIB, Limits, Release
from runtime.parts import Parts
from runtime.runs.consoles import Console, ContainerConsole
from runtime.runs.describe import NO_LOG, attached
from runtime.runs.images import USERS, owner_of
from runtime.runs.keeper import Runs
from runtime.waiting import see_through

SERVER: Final = "/usr/lib/openssh/sftp-server"
LIMITS: Final = Limits(cpu=1.0, memory=128 * MIB)


@asynccontextmanager
async def files_of(runs: Runs, app: str) -> AsyncIterator[Console]:
    """An sftp server that sees the folders in the manifest's `persist`; gone when it is left. Raises LockstepError."""
    parts = runs.parts
    with parts.store.read() as tx:
        release = tx.releases.current(tx.apps.get(app).name)
    if release is None:
        raise LockstepError(f"nothing of {app} is live: push to it first")
    if not release.spec.persist:
        raise LockstepError(f"{app} has no folder that outlives a release: name one with 'persist' in the manifest")
    engine = parts.fleet.engine
    name = names.one_off(parts.settings.instance, app, "sftp", secrets.token_hex(4))
    runs.held.add(name)
    try:
        user = await owner_of(parts, release, name)
        spec = container_of(release, parts.settings.instance, parts.platform_image, user, _passwd(parts, user))
        await see_through(engine.post("/containers/create", spec, name=name))
        streams = await attach(engine, name, tty=False)
        try:
            await engine.post(f"/containers/{name}/start")
            yield ContainerConsole(parts.fleet, streams, name)
        finally:
            streams.close()
    finally:
        try:
            await see_through(parts.fleet.remove_container(name))
        finally:
            runs.held.discard(name)


def container_of(release: Release, instance: str, image: str, user: str, passwd: Path) -> Spec:
    """The container: no network, nothing writable but the folders, the app's own user."""
    users = {"Type": "bind", "Source": str(passwd), "Target": USERS, "ReadOnly": True}
    return {
        "Image": image,
        "Labels": names.labels(instance, names.ONE_OFF, app=release.handle, release=release.number, process="sftp"),
        "Entrypoint": [SERVER, "-d", APP_DIR],
        "Cmd": [],
        "User": user,
        "StopTimeout": 1,
        **attached(None),
        "HostConfig": {
            **hardening(LIMITS),
            "LogConfig": NO_LOG,
            "NetworkMode": "none",
            "IpcMode": "none",
            "ReadonlyRootfs": True,
            "Mounts": [*mounts(release, instance), users],
        },
    }


def _passwd(parts: Parts, user: str) -> Path:
    """A list of users with the one that the server runs as: it does not start for one who is on none."""
    uid, gid = user.split(":")
    folder = parts.settings.run / "sftp"
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    path, part = folder / f"passwd-{uid}-{gid}", folder / f"part-{secrets.token_hex(4)}"
    part.write_text(f"app:x:{uid}:{gid}::{APP_DIR}:/usr/sbin/nologin\n")
    os.chmod(part, 0o644)  # noqa: PTH101 - whoever it is has to read it
    part.replace(path)
    return path
