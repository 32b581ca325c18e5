"""What the runtime relies on of the router, held by the fake of the property tests and by a real Caddy alike."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from runtime.names import Handle
from runtime.router import Answer, Plan, Router
from runtime.routes import CONFIG, Route
from runtime.settings import Settings
from runtime.switchboard import Target
from tests.contract.fake_engine import FakeEngine
from tests.contract.fake_router import Caddy, FakeRouter, hosts_in
from tests.contract.fates import Fates
from tests.contract.rig import DEADLINE, Rig, fake_rig, real_rig
from tests.unit.runtime import samples

REAL = pytest.param("real", marks=pytest.mark.engine)
PLATFORM: Final = "lockstep/platform:latest"
SHOP: Final = Route(Handle("shop"), ("shop.localhost",), "lockstep-shop-web-v1", 5000)
SHOP_2: Final = Route(Handle("shop"), ("shop.localhost",), "lockstep-shop-web-v2", 5000)
SHOP_MOVED: Final = Route(Handle("shop"), ("www.shop.ch", "shop.localhost"), "lockstep-shop-web-v2", 5000)
BLOG: Final = Route(Handle("blog"), ("blog.localhost",), "lockstep-blog-web-v7", 8000)


@dataclass
class Bench:
    rig: Rig
    router: Router

    async def routes(self) -> dict[str, list[str] | None]:
        config = await self.router.config()
        return {app: hosts_in(config, app) for app in ("shop", "blog") if hosts_in(config, app) is not None}

    async def restart(self) -> None:
        await self.rig.fleet.engine.post(f"/containers/{self.router.container}/stop", t=2)
        await self.router.ensure(PLATFORM)


@pytest.fixture(params=["fake", REAL])
async def bench(request: pytest.FixtureRequest, home: Path) -> AsyncIterator[Bench]:
    async with _fake(home) if request.param == "fake" else _real(home) as found:
        await found.router.ensure(PLATFORM)
        yield found


@asynccontextmanager
async def _fake(home: Path) -> AsyncIterator[Bench]:
    async with fake_rig() as rig:
        settings = _settings(home, rig)
        assert isinstance(rig.fleet.engine, FakeEngine)
        world = rig.fleet.engine.world
        world.images["sha256:" + "e" * 64] = {PLATFORM}
        caddy = Caddy(world, f"{rig.instance}-router")
        yield Bench(rig, FakeRouter(rig.fleet, settings, caddy, world, Fates()))


@asynccontextmanager
async def _real(home: Path) -> AsyncIterator[Bench]:
    async with real_rig() as rig:
        bench = Bench(rig, Router(rig.fleet, _settings(home, rig)))
        try:
            yield bench
        finally:
            await rig.fleet.remove_container(bench.router.container)


def _settings(home: Path, rig: Rig) -> Settings:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    return samples.settings(home, instance=rig.instance, http_host="127.0.0.1", http_port=port)


def plan(*routes: Route, left_alone: frozenset[Handle] = frozenset()) -> Plan:
    return routes, left_alone


async def test_requests_are_moved_and_taken_away(bench: Bench) -> None:
    router = bench.router
    assert await router.target(SHOP.app) is None
    assert await router.point(SHOP)
    assert await router.target(SHOP.app) == Target("lockstep-shop-web-v1", 5000)
    assert not await router.point(SHOP)
    assert await router.point(SHOP_2)
    assert await router.target(SHOP.app) == SHOP_2.target
    assert await router.point(SHOP_MOVED)
    assert await router.point(BLOG)
    assert await bench.routes() == {"shop": ["www.shop.ch", "shop.localhost"], "blog": ["blog.localhost"]}
    assert await router.forget(SHOP.app)
    assert not await router.forget(SHOP.app)
    assert await router.target(SHOP.app) is None
    assert await bench.routes() == {"blog": ["blog.localhost"]}


async def test_whole_is_loaded_where_it_differs(bench: Bench) -> None:
    router = bench.router
    assert await router.load(lambda: plan(SHOP, BLOG)) != []
    assert await router.load(lambda: plan(BLOG, SHOP)) == []
    assert await router.target(BLOG.app) == BLOG.target
    assert await router.load(lambda: plan(SHOP_MOVED)) != []
    assert await bench.routes() == {"shop": ["www.shop.ch", "shop.localhost"]}
    assert (await router.target(SHOP.app), await router.target(BLOG.app)) == (SHOP_MOVED.target, None)


async def test_apps_that_are_left_alone_stay_as_they_are(bench: Bench) -> None:
    router = bench.router
    await router.point(SHOP)
    await router.load(lambda: plan(BLOG, left_alone=frozenset({SHOP.app})))
    assert await bench.routes() == {"shop": ["shop.localhost"], "blog": ["blog.localhost"]}
    assert await router.target(SHOP.app) == SHOP.target


async def test_router_that_was_restarted_is_as_it_was(bench: Bench) -> None:
    await bench.router.point(SHOP)
    await bench.router.point(BLOG)
    before = await bench.router.config()
    await bench.restart()
    assert await bench.router.config() == before
    assert await bench.router.target(SHOP.app) == SHOP.target
    assert await bench.router.load(lambda: plan(SHOP, BLOG)) == []


async def test_https_is_asked_for_each_host_and_kept_for_the_next_start(home: Path) -> None:
    async with fake_rig() as rig:
        settings = _settings(home, rig).model_copy(update={"https_port": 8443})
        assert isinstance(rig.fleet.engine, FakeEngine)
        world = rig.fleet.engine.world
        world.images["sha256:" + "e" * 64] = {PLATFORM}
        router = FakeRouter(rig.fleet, settings, Caddy(world, f"{rig.instance}-router"), world, Fates())
        await router.ensure(PLATFORM)

        async def signed() -> list[str]:
            config = await router.config()
            assert json.loads((settings.router_run / CONFIG).read_text()) == config
            return list(config["apps"]["tls"]["certificates"]["automate"])

        assert await signed() == []
        await router.point(SHOP)
        await router.point(BLOG)
        assert await signed() == ["blog.localhost", "shop.localhost"]
        await router.point(SHOP_MOVED)
        assert await signed() == ["blog.localhost", "shop.localhost", "www.shop.ch"]
        assert await router.load(lambda: plan(BLOG, SHOP_MOVED)) == []
        assert await router.forget(SHOP.app)
        assert await signed() == ["blog.localhost"]
        assert await router.load(lambda: plan(BLOG)) == []


async def test_replica_is_asked_on_its_network(bench: Bench) -> None:
    rig, router = bench.rig, bench.router
    for _ in range(2):
        await router.reach(rig.network)
    service = await rig.fleet.ensure_service(rig.service("cd /usr; exec python3 -m http.server 8000", name="web"))
    (task,) = await rig.until_running(service)
    address = task.address
    assert address is not None

    async def answers() -> Answer | None:
        found = await router.ask(address, 8000, "shop.localhost", None, 5.0)
        return found if found.status is not None else None

    assert (await rig.fleet.events.until("an answer", DEADLINE, answers)).status == 200
    missing = await router.ask(address, 8000, "shop.localhost", "/missing", 5.0)
    assert (missing.status, missing.healthy("/missing"), missing.healthy(None)) == (404, False, True)
    assert await router.under_way((f"{address}:8000",)) == 0
    await rig.fleet.stop([service])
    assert (await router.ask(address, 8000, "shop.localhost", None, 5.0)).status is None
    for _ in range(2):
        await router.leave(rig.network)
