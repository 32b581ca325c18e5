"""An instance with an app and a scheduler, but no server: what the tests of cron stand on."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from builder.stack import ensure_stack
from runtime import names
from runtime.engine import specs
from runtime.engine.client import Engine
from runtime.engine.events import Events
from runtime.engine.fleet import Fleet
from runtime.model import AppSpec, CronJob, CronRun, Dialect, Image, Release, RunState, Trigger
from runtime.names import Handle
from runtime.parts import Parts
from runtime.router import Router
from runtime.scheduler.operations import CronOperations
from runtime.scheduler.runlog import RunLogs
from runtime.scheduler.wake import send_wake
from runtime.secrets import Vault, make_key
from runtime.services.redis import SharedRedis
from runtime.settings import Settings, load_settings, render_settings
from runtime.store import Store, prepare_store
from runtime.teardown import tear_down

NO_IMAGE = "sha256:" + "0" * 64
NEVER = "0 0 1 1 *"  # a schedule for jobs that are only run by hand
Found = TypeVar("Found")


def make_home(home: Path, **values: Any) -> Settings:
    """A home folder with settings, key and an empty store."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "lockstep.toml").write_text(render_settings({"for_tests": True, **values}))
    settings = load_settings(home)
    make_key(settings.secret_key)
    prepare_store(settings.database)
    settings.run.mkdir(exist_ok=True)
    return settings


def job(name: str = "tick", command: str = "true", schedule: str = NEVER, **values: Any) -> CronJob:
    return CronJob(name=name, schedule=schedule, command=command, **values)


def go_live(
    store: Store, app: str, number: int, *jobs: CronJob, now: datetime, image: str = NO_IMAGE, **spec: Any
) -> Release:
    """Write a release and make it the live one, as the commit of a deploy does."""
    release = Release(
        app=app,
        number=number,
        commit="c" * 40,
        image=Image(id=image),
        spec=AppSpec(dialect=Dialect.PAAS, crons=jobs, **spec),
        config={"COLOUR": "blue"},
        created_at=now,
        created_by="tester",
        description="made by a test",
    )
    with store.write() as tx:
        if tx.apps.find(app) is None:
            tx.apps.create(app, now)
        tx.releases.add(release)
        tx.apps.set_current(app, number)
        tx.releases.mark_live(app, number, now)
    return release


class CronRig:
    """A real engine, the app `shop` on its network, and the scheduler as a process."""

    def __init__(self, home: Path, instance: str, host: str | None = None) -> None:
        """`host` is an engine without a swarm that the test has made for itself."""
        self.settings = make_home(home, instance=instance, engine=host)
        self.store = Store(self.settings.database, Vault(self.settings.secret_key))
        self.logs = RunLogs(self.settings.logs)
        self.process: asyncio.subprocess.Process | None = None
        self._number = 0

    async def open(self) -> CronRig:
        self.engine = await Engine(self.settings.engine).open()
        self.fleet = Fleet(self.engine, Events(self.engine, self.settings.instance), self.settings.instance)
        network = specs.overlay_network(self.settings.instance, Handle("shop"))
        if self.settings.engine is None:
            stack = await ensure_stack(self.engine, lambda _: None)
            self.image: str = (await self.engine.get(f"/images/{stack.run}/json"))["Id"]
            await self.fleet.ensure_network(network)
            await self._keep_network()
        else:
            self.image = (await self.engine.get("/images/lockstep/run:latest/json"))["Id"]
            await self.fleet.ensure_network({**network, "Driver": "bridge"})
        self.parts = Parts(
            settings=self.settings,
            store=self.store,
            fleet=self.fleet,
            router=Router(self.fleet, self.settings),
            redis=SharedRedis(self.fleet, self.settings, "none"),
            platform_image=self.image,
            wake_scheduler=self.wake,
        )
        self.cron = CronOperations(self.parts)
        return self

    async def close(self) -> None:
        await self.stop(signal.SIGKILL)
        if self.settings.engine is None:
            await tear_down(self.fleet, lambda _: None)
        await self.engine.close()
        self.store.close()

    # ---- the scheduler -----------------------------------------------------------------------------------------

    async def start(self, **env: str) -> None:
        """Start the scheduler; LOCKSTEP_* variables may be given."""
        words = (sys.executable, "-m", "runtime.scheduler", "--home", str(self.settings.home))
        self.process = await asyncio.create_subprocess_exec(*words, env={**os.environ, **env})

    async def stop(self, number: int = signal.SIGTERM) -> int | None:
        if self.process is None:
            return None
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        code = await self.process.wait()
        self.process = None
        return code

    async def until_dead(self, seconds: float = 30.0) -> int:
        assert self.process is not None
        async with asyncio.timeout(seconds):
            return await self.process.wait()

    def wake(self) -> None:
        send_wake(self.settings.scheduler_socket)

    # ---- the app -----------------------------------------------------------------------------------------------

    def deploy(self, *jobs: CronJob, **spec: Any) -> Release:
        self._number += 1
        release = go_live(self.store, "shop", self._number, *jobs, now=datetime.now(UTC), image=self.image, **spec)
        self.wake()
        return release

    async def open_volume(self, folder: str) -> None:
        """Make a durable folder that every user may write to."""
        name = names.volume(self.settings.instance, Handle("shop"), folder)
        await self.fleet.ensure_volume(name, names.labels(self.settings.instance, names.SERVICE, app=Handle("shop")))
        await self._in_volume(name, "chmod 1777 /volume")

    async def read_volume(self, folder: str, file: str) -> list[str]:
        name = names.volume(self.settings.instance, Handle("shop"), folder)
        return await self._in_volume(name, f"cat /volume/{file} 2>/dev/null || true")

    async def _in_volume(self, volume: str, line: str) -> list[str]:
        spec = {
            "Image": self.image,
            "User": "root",
            "Labels": names.labels(self.settings.instance, names.PLATFORM, app=Handle("shop")),
            "Entrypoint": ["/bin/sh", "-c", line],
            "HostConfig": {
                "NetworkMode": "none",
                "Mounts": [{"Type": "volume", "Source": volume, "Target": "/volume"}],
            },
        }
        said: list[str] = []
        code = await self.fleet.run_once(
            f"{volume}-look", spec, timeout=30.0, grace=1.0, on_line=lambda found: said.append(found.text)
        )
        assert code == 0
        return said

    async def _keep_network(self) -> None:
        """What the router does for each app: one attachment that stays."""
        network = names.network(self.settings.instance, Handle("shop"))
        spec = {
            "Image": self.image,
            "Labels": names.labels(self.settings.instance, names.PLATFORM, app=Handle("shop")),
            "Entrypoint": ["sleep", "infinity"],
            "HostConfig": {"NetworkMode": network, "Init": True},
            "NetworkingConfig": {"EndpointsConfig": {network: {}}},
        }
        await self.fleet.ensure_container(f"{network}-keeper", spec)

    # ---- runs --------------------------------------------------------------------------------------------------

    def claim(self, name: str, *, trigger: Trigger = Trigger.SCHEDULE, slot: datetime | None = None) -> CronRun:
        """A row as the scheduler writes it for a slot."""
        now = datetime.now(UTC)
        with self.store.write() as tx:
            release = tx.releases.current("shop")
            assert release is not None
            run = tx.cron.open_run(
                "shop", name, slot or now, trigger=trigger, state=RunState.DUE, release=release.number, now=now
            )
        assert run is not None
        self.wake()
        return run

    def runs(self, name: str | None = None) -> list[CronRun]:
        with self.store.read() as tx:
            return list(reversed(tx.cron.of("shop", name, limit=1000)))

    def text(self, run: CronRun, *, error: bool | None = None) -> list[str]:
        """The lines of the stored log, of both streams or of one."""
        from runtime.scheduler.jobs import Key

        lines = self.logs.read(Key(run.app, run.job), run.id) or ()
        return [line.text for line in lines if error is None or line.error is error]

    async def containers(self) -> list[dict[str, Any]]:
        return await self.fleet.containers(kind=names.CRON)

    async def ended(self, run: CronRun, seconds: float = 30.0) -> CronRun:
        return await self.cron.until_ended("shop", run.id, seconds)

    async def running(self, run: CronRun, seconds: float = 30.0) -> CronRun:
        def look() -> CronRun | None:
            found = self.cron.run("shop", run.id)
            return found if found.started_at is not None else None

        return await until(f"the start of run {run.id}", look, seconds)


async def until(what: str, look: Callable[[], Found | None], seconds: float = 30.0) -> Found:
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:g} s"
        await asyncio.sleep(0.05)
    return found
