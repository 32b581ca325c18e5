"""The server's life: start every part in order, say that it is ready, stop them in reverse order."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import logging
import os
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from builder.stack import ensure_platform, ensure_stack
from gitreceive.callers import Callers
from gitreceive.commands import Commands
from gitreceive.commands.desk import Operations
from gitreceive.hostkey import open_to_host
from gitreceive.keyring import StoreKeyRing
from gitreceive.maintenance import maintain
from gitreceive.push import Pushes
from gitreceive.server import start_server
from gitreceive.shells import Shells
from gitreceive.wiring import open_parts
from runtime.alerts.sender import send_alerts
from runtime.alerts.watch import Watch
from runtime.apps import Apps
from runtime.deployer import Deployer
from runtime.errors import SettingsError
from runtime.logbook.access import AccessLog
from runtime.logbook.collector import Collector
from runtime.logs import AppLogs
from runtime.parts import Parts
from runtime.reconcile import Reconciler
from runtime.recovery.refusal import require_swarm
from runtime.renaming import move_folders
from runtime.runs.keeper import Runs
from runtime.settings import Settings
from runtime.store import prepare_store
from runtime.watch import SchedulerProcess

log = logging.getLogger(__name__)

HOOKS: Final = Path(__file__).resolve().parent.parent / "hooks"
SESSION_GRACE: Final = 2.0  # seconds that sessions have to end by themselves when the server stops
DEPLOY_GRACE: Final = 120.0  # seconds for deploys past their commit point

MOST_FILES: Final = 65536  # that the server may have open, as far as the machine lets it

Say = Callable[[str], None]


async def serve(settings: Settings, say: Say) -> None:
    """Run until SIGTERM or SIGINT. Raises LockstepError when a part does not start."""
    prepare_logging(settings)
    _allow_many_files()
    stop = _stop_on_signals()
    with refuse_while_running(settings):
        settings.port_file.unlink(missing_ok=True)
        prepare_store(settings.database)
        scheduler = SchedulerProcess(settings)
        async with open_parts(settings, wake_scheduler=scheduler.wake) as bare, AsyncExitStack() as side:
            move_folders(bare)
            parts, pushes = await prepare(bare, say)
            await side.enter_async_context(_running(Collector(parts).run(), "logs"))
            await side.enter_async_context(_running(AccessLog(parts).run(), "requests"))
            deployer = pushes.deployer
            reconciler = Reconciler(parts, deployer)
            await reconciler.start()
            runs = Runs(parts)
            await runs.start()
            operations = Operations(parts, deployer, pushes.apps, AppLogs(parts), pushes, runs, Callers())
            async with (
                _running(scheduler.run(), "scheduler"),
                _running(reconciler.run(), "reconciler"),
                _running(send_alerts(parts, deployer.logs), "alert sender"),
                _running(Watch(parts.store, parts.clock).run(), "watch over cron"),
                _running(maintain(settings.repositories, parts), "repositories"),
                _running(runs.run(), "one-off runs"),
            ):
                server = await start_server(
                    settings.ssh_host,
                    settings.ssh_port,
                    settings.host_key,
                    StoreKeyRing(parts.store),
                    pushes,
                    Commands(operations),
                    settings.run / "hook",
                    HOOKS,
                    max_push=settings.push_limit,
                    shells=Shells(operations),
                    callers=operations.callers,
                )
                open_to_host(settings, server.port)
                say(f"lockstep: ready, ssh on port {server.port}, apps at {settings.url_of('APP.' + settings.domain)}")
                await stop.wait()
                say("lockstep: stopping; apps stay up")
                server.refuse()
                await deployer.stop(DEPLOY_GRACE)  # who waits for one is told how it ended
                await server.close(SESSION_GRACE)
                await runs.stop()


async def prepare(bare: Parts, say: Say) -> tuple[Parts, Pushes]:
    """Swarm, base images, router and Redis; what is there already is found in well under a second.

    Raises SwarmLost when the swarm that the apps were in is gone: see runtime.recovery.
    """
    settings, engine = bare.settings, bare.fleet.engine

    def step(text: str) -> None:
        say(f"-----> {text}")

    await require_swarm(bare)
    if await bare.fleet.ensure_swarm():
        step("made the engine a swarm of one node")
    stack = await ensure_stack(engine, step, base_image=settings.base_image)
    image = await ensure_platform(engine, step, base_image=settings.base_image)
    parts = dataclasses.replace(bare, platform_image=image)
    await parts.router.ensure(image)
    with parts.store.read() as tx:
        users = tx.apps.redis_users()
    await parts.redis.ensure(image, users)
    deployer = Deployer(parts)
    return parts, Pushes(parts, deployer, Apps(parts, deployer), stack)


@contextmanager
def refuse_while_running(settings: Settings) -> Iterator[None]:
    """Hold the instance's lock. Raises SettingsError when a server holds it."""
    settings.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(settings.run / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SettingsError(f"a server of {settings.home} is running: stop it first") from None
    else:
        yield
    finally:
        os.close(handle)


@asynccontextmanager
async def _running(work: Any, name: str) -> AsyncIterator[None]:
    """Run a side task for as long as the body runs; its failure is logged, not hidden."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_log_end)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _log_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("%s ended", task.get_name(), exc_info=task.exception())


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _allow_many_files() -> None:
    """A log that is followed takes one file, and there is one for each container."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def prepare_logging(settings: Settings) -> None:
    settings.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    logging.basicConfig(
        filename=settings.logs / "server.log",
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        level=logging.INFO,
    )
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
