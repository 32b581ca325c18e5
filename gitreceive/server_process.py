"""The server's life: start every part in order, say that it is ready, stop them in reverse order."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from builder.stack import ensure_platform, ensure_stack
from gitreceive.commands import Commands
from gitreceive.commands.desk import Operations
from gitreceive.hostkey import open_to_host
from gitreceive.keyring import StoreKeyRing
from gitreceive.maintenance import maintain
from gitreceive.push import Pushes
from gitreceive.server import start_server
from gitreceive.wiring import open_parts
from runtime.apps import Apps
from runtime.deployer import Deployer
from runtime.errors import SettingsError
from runtime.logs import AppLogs
from runtime.parts import Parts
from runtime.reconcile import Reconciler
from runtime.settings import Settings
from runtime.store import prepare_store
from runtime.watch import SchedulerProcess

log = logging.getLogger(__name__)

HOOKS: Final = Path(__file__).resolve().parent.parent / "hooks"
SESSION_GRACE: Final = 2.0  # seconds that sessions have to end by themselves when the server stops
DEPLOY_GRACE: Final = 120.0  # seconds for deploys past their commit point

Say = Callable[[str], None]


async def serve(settings: Settings, say: Say) -> None:
    """Run until SIGTERM or SIGINT. Raises LockstepError when a part does not start."""
    _prepare_logging(settings)
    stop = _stop_on_signals()
    with refuse_while_running(settings):
        settings.port_file.unlink(missing_ok=True)
        prepare_store(settings.database)
        scheduler = SchedulerProcess(settings)
        async with open_parts(settings, wake_scheduler=scheduler.wake) as bare:
            parts, pushes = await _prepare(bare, say)
            deployer = pushes.deployer
            reconciler = Reconciler(parts, deployer)
            await reconciler.start()
            operations = Operations(parts, deployer, pushes.apps, AppLogs(parts.fleet), pushes)
            async with (
                _running(scheduler.run(), "scheduler"),
                _running(reconciler.run(), "reconciler"),
                _running(maintain(settings.repositories, parts), "repositories"),
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
                )
                open_to_host(settings, server.port)
                say(f"lockstep: ready, ssh on port {server.port}, apps at {settings.url_of('APP.' + settings.domain)}")
                await stop.wait()
                say("lockstep: stopping; apps stay up")
                await server.close(SESSION_GRACE)
                await deployer.stop(DEPLOY_GRACE)


async def _prepare(bare: Parts, say: Say) -> tuple[Parts, Pushes]:
    """Swarm, base images, router and Redis; what is there already is found in well under a second."""
    settings, engine = bare.settings, bare.fleet.engine

    def step(text: str) -> None:
        say(f"-----> {text}")

    if await bare.fleet.ensure_swarm():
        step("made the engine a swarm of one node")
    stack = await ensure_stack(engine, step, base_image=settings.base_image)
    image = await ensure_platform(engine, step, base_image=settings.base_image)
    parts = dataclasses.replace(bare, platform_image=image)
    await parts.router.ensure(image)
    with parts.store.read() as tx:
        found = {app.name: tx.apps.redis_password(app.name) for app in tx.apps.all()}
    await parts.redis.ensure(image, {app: password for app, password in found.items() if password is not None})
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


def _prepare_logging(settings: Settings) -> None:
    settings.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    logging.basicConfig(
        filename=settings.logs / "server.log",
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        level=logging.INFO,
    )
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
