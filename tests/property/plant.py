"""A whole installation in memory: servers come and go, the engine, the router, Redis and the database stay."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from runtime import names
from runtime.apps import Apps
from runtime.deployer import Deployer, Draft, Outcome
from runtime.engine.events import Events
from runtime.engine.fleet import Fleet
from runtime.errors import LockstepError, StoreError
from runtime.model import AppSpec, Deploy, Image, Process
from runtime.names import Handle
from runtime.parts import Parts, hosts_of, route_in, scaled
from runtime.reconcile import Reconciler
from runtime.store import Store, Transaction
from runtime.story import Story
from runtime.switchboard import Switchboard
from tests.contract.fake_engine import FakeEngine
from tests.contract.fake_redis import FakeRedis, RedisServer
from tests.contract.fake_router import Caddy, FakeRouter, hosts_in
from tests.contract.fates import Fate, Fates, Killed
from tests.contract.swarm import Swarm
from tests.contract.world import World
from tests.property.observer import Observer
from tests.property.virtual import VirtualLoop
from tests.unit.runtime import samples

APP: Final = "shop"
INSTANCE: Final = "lockstep"
PLATFORM: Final = "sha256:" + "e" * 64
PATIENCE: Final = 3600.0  # seconds after which nothing that a client waits for may still be under way
AWAY: Final = 3.0  # seconds that a restart of dockerd takes
ROUNDS: Final = 3  # of the reconciler, after which all must be well
SHM: Final = Path("/dev/shm")


class MortalStore(Store):
    """The store as one server process sees it: it may die before or after a change."""

    fates: Fates
    changed: Callable[[str], None]

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A transaction like the store's own; what befalls it, befalls it before its begin or after its end."""
        fate = self.fates.next("store")
        if fate is Fate.KILL:
            raise self.fates.die("store")
        if fate in (Fate.REFUSE, Fate.HANG, Fate.HANG_DONE, Fate.LOSE_DONE):
            raise StoreError("the store did not take a change: refused")
        if fate is Fate.ENGINE_DOWN:
            self.fates.engine_down()
        with super().write() as transaction:
            yield transaction
        if self.fates.dead:
            raise Killed("store")
        self.changed("store")
        if fate is Fate.KILL_DONE:
            raise self.fates.die("store")
        if fate in (Fate.CANCEL, Fate.CANCEL_DONE):
            self.fates.cancel()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        if self.fates.dead:
            raise Killed("store")
        with super().read() as transaction:
            yield transaction


@dataclass
class Server:
    """One server process."""

    parts: Parts
    deployer: Deployer
    reconciler: Reconciler
    apps: Apps
    fates: Fates
    tasks: list[asyncio.Task[Any]]


Ended = Outcome | BaseException | None
Work = Callable[[Server], Coroutine[Any, Any, Outcome | None]]


class Plant:
    """Everything, on a loop of its own whose time is virtual."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ls-plant-", dir=SHM if SHM.is_dir() else None))
        self.loop = VirtualLoop()
        samples.new_store(self.folder).close()
        self.settings = samples.settings(self.folder, settle=0.5, health_deadline=5.0, keep_releases=2)
        self.world = World()
        self.swarm = Swarm(self.world)
        self.world.images[PLATFORM] = {"lockstep/platform:latest"}
        self.caddy = Caddy(self.world, names.platform(INSTANCE, "router"))
        vault = samples.new_vault(self.folder)
        self.redis = RedisServer(self.world, names.platform(INSTANCE, "redis"), vault.derive("redis"))
        self.observer = Observer(self.world, self.swarm, self.caddy, self.folder, Switchboard(self.settings.router_run))
        self.store = Store(self.folder / "lockstep.db", vault)  # of those who look from outside
        self.server: Server | None = None
        self.images = 0
        with self.store.write() as tx:
            tx.apps.create(APP, samples.NOW)

    def close(self) -> None:
        self.stop_server()
        self.loop.run_until_complete(self.world.end())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        self.observer.close()
        self.store.close()
        shutil.rmtree(self.folder)

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def now(self) -> datetime:
        return samples.NOW + timedelta(seconds=self.loop.time())

    # ---- servers ---------------------------------------------------------------------------------------------

    def start_server(self, fates: Fates | None = None) -> bool:
        """Start a server as gitreceive.server_process does; False when it died before it was ready."""
        fates = fates or Fates()
        fates.engine_down = self.restart_engine
        return bool(self.run(self._start(fates)))

    async def _start(self, fates: Fates) -> bool:
        server = self.server = self._assemble(fates)
        server.tasks.append(asyncio.create_task(server.parts.fleet.events.run()))
        starting = asyncio.create_task(self._make_ready(server))
        server.tasks.append(starting)
        await asyncio.wait({starting}, timeout=PATIENCE)
        if not starting.done():
            raise AssertionError("a server's start did not end")
        if fates.dead:
            return False
        if starting.exception() is not None:
            error = starting.exception()
            assert isinstance(error, LockstepError), error
            raise error
        server.tasks.append(asyncio.create_task(server.reconciler.run()))
        return True

    async def _make_ready(self, server: Server) -> None:
        await server.parts.router.ensure(PLATFORM)
        with server.parts.store.read() as tx:
            users = tx.apps.redis_users()
        await server.parts.redis.ensure(PLATFORM, users)
        await server.reconciler.start()

    def _assemble(self, fates: Fates) -> Server:
        engine = FakeEngine(self.world, self.swarm, fates)
        fleet = Fleet(engine, Events(engine, INSTANCE), INSTANCE)
        vault = self.store.vault
        store = MortalStore(self.folder / "lockstep.db", vault)
        store.fates, store.changed = fates, self.world.changed
        password = vault.derive("redis")
        parts = Parts(
            settings=self.settings,
            store=store,
            fleet=fleet,
            router=FakeRouter(fleet, self.settings, self.caddy, self.world, fates),
            redis=FakeRedis(fleet, self.settings, password, self.redis, self.world, fates),
            platform_image=PLATFORM,
            wake_scheduler=lambda: None,
            clock=self.now,
        )
        deployer = Deployer(parts)
        return Server(parts, deployer, Reconciler(parts, deployer), Apps(parts, deployer), fates, [])

    def stop_server(self) -> None:
        """The process is gone: none of its tasks goes on, and what they would still do has no effect."""
        server, self.server = self.server, None
        if server is not None:
            server.fates.dead = True
            self.run(self._bury(server))
            server.parts.store.close()

    async def _bury(self, server: Server) -> None:
        await asyncio.gather(*server.fates.late, return_exceptions=True)  # whatever became of it, nobody waits for it
        for _ in range(100):
            mine = asyncio.all_tasks() - self.world._tasks - {asyncio.current_task()}
            if not mine:
                break
            for task in mine:
                task.cancel()
            await asyncio.wait(mine, timeout=1.0)
        else:
            raise AssertionError("tasks of a server that is gone go on")
        await asyncio.gather(*server.tasks, return_exceptions=True)  # how they died is nobody's business any more

    def restart_engine(self) -> None:
        self.world.later(self.swarm.restart_engine(AWAY))

    # ---- what clients do -------------------------------------------------------------------------------------

    def deploy(self, *processes: Process, **changes: Any) -> Ended:
        """Push a commit whose manifest has these processes; the outcome, or how it failed."""
        return self.attempt(self.push(samples.spec(*processes, **changes)))[0]

    def push(self, spec: AppSpec) -> Work:
        self.images += 1
        image = Image(id=f"sha256:{self.images:064x}", command=("run",))
        self.world.images[image.id] = {f"{INSTANCE}/{APP}:build{self.images}"}

        async def make(_: Deploy, __: Story) -> Draft:
            await asyncio.sleep(1.0)
            return Draft(samples.COMMIT, image, spec, "push")

        async def work(server: Server) -> Outcome:
            story = Story(self.observer.story.append)
            deploy = server.deployer.deploy
            return await deploy(APP, kind="push", who="anna", commit=samples.COMMIT, make=make, story=story)

        return work

    def config(self, **values: str) -> Work:
        async def work(server: Server) -> Outcome | None:
            return await server.apps.set_config(APP, values, "anna", Story(self.observer.story.append))

        return work

    def scale(self, **replicas: int) -> Work:
        async def work(server: Server) -> None:
            await server.apps.scale(APP, replicas)

        return work

    def attempt(self, *works: Work, apart: float = 0.0) -> list[Ended]:
        """What became of clients that come one after the other, so many seconds apart."""
        assert self.server is not None
        found: list[Ended] = self.run(self._clients(self.server, works, apart))
        return found

    async def _clients(self, server: Server, works: tuple[Work, ...], apart: float) -> list[Ended]:
        clients: list[asyncio.Task[Any]] = []
        server.fates.cancel = lambda: clients[-1].cancel()
        for work in works:
            clients.append(asyncio.create_task(work(server)))
            await asyncio.wait(clients, timeout=apart)
        await asyncio.wait(clients, timeout=PATIENCE)
        server.fates.cancel = lambda: None
        if server.fates.dead:
            server.tasks += clients
            return [Killed("server") for _ in clients]
        return [self._end_of(client) for client in clients]

    def _end_of(self, client: asyncio.Task[Any]) -> Ended:
        assert client.done(), self.tell(f"a client still waits after {PATIENCE:g} s: {client.get_stack()}")
        if client.cancelled():
            return asyncio.CancelledError()
        error = client.exception()
        if error is not None and not isinstance(error, LockstepError):
            raise error
        result: Ended = error or client.result()
        return result

    # ---- what must be so -------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Let a server, a new one if there is none, come to rest: nothing befalls it any more."""
        if self.server is not None and self.server.fates.dead:
            self.stop_server()
        while self.server is None:
            try:
                if not self.start_server():
                    self.stop_server()
            except LockstepError:
                self.stop_server()  # it said why and ended; its supervisor starts another
                self.run(self.world.until_up())
        self.server.fates.plan.clear()
        self.run(self._rest(self.server))

    async def _rest(self, server: Server) -> None:
        await self.world.until_up()
        for _ in range(ROUNDS):
            await server.reconciler.round()
            await asyncio.sleep(3.0)  # what Swarm still has to do by itself

    def check(self) -> None:
        """The promises of DESIGN §1 at a moment of rest."""
        self.check_moments()
        with self.store.read() as tx:
            app, current, unfinished = tx.apps.get(APP), tx.releases.current(APP), tx.deploys.unfinished()
            held_by, config = tx.apps.held_by(APP), tx.apps.config(APP)
            lived = any(live_at is not None for _, live_at in tx.releases.of(APP))
        assert unfinished == [], self.tell("a deploy has not ended")
        assert held_by is None, self.tell(f"cron is held by deploy {held_by}")
        assert app.current_release is not None or not lived, self.tell("nothing is live any more")
        table: dict[str, int] = {}
        if current is not None:
            assert config == current.config, self.tell("the config is not that of the live release")
            table = {
                names.service(INSTANCE, Handle(APP), process.name, current.number): process.replicas
                for process in scaled(self.store, current).spec.processes
            }
        services = {service.name: service.replicas for service in self.swarm.services.values()}
        assert services == table, self.tell(f"services are {services} and should be {table}")
        self._check_route(None if current is None else current)
        self._check_containers(None if current is None else current.number)

    def check_moments(self) -> None:
        assert self.observer.wrong == [], self.tell(self.observer.wrong[0])

    def _check_route(self, current: Any) -> None:
        with self.store.read() as tx:
            wanted = None if current is None else route_in(tx, self.settings, current)
        target = Switchboard(self.settings.router_run).target(Handle(APP))
        hosts = hosts_in(self.caddy.config, APP)
        if wanted is None:
            assert (target, hosts) == (None, None), self.tell(f"requests go to {target} for {hosts}")
        else:
            assert target == wanted.target, self.tell(f"requests go to {target} and should go to {wanted.target}")
            assert hosts == list(hosts_of(self.settings, current)), self.tell(f"the route is for {hosts}")

    def _check_containers(self, number: int | None) -> None:
        for kind in (names.WEB, names.WORKER):
            assert self.observer.running(APP, kind) <= {number}, self.tell(f"a {kind} of another release runs")
        left = [
            container.name
            for container in self.world.containers.values()
            if container.labels.get(names.KIND) in (names.HOOK, names.ONE_OFF)
            or (container.labels.get(names.KIND) == names.PLATFORM and container.labels.get(names.APP))
        ]
        assert left == [], self.tell(f"left over: {left}")

    def tell(self, what: str) -> str:
        met = [] if self.server is None else self.server.fates.met
        last = "\n  ".join(self.observer.story[-60:])
        return f"{what}\nbefell: {met}\nnow: {self.observer.active(APP)}\nthe last changes:\n  {last}"
