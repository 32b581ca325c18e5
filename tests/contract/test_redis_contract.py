"""What the runtime relies on of the shared Redis, held by the fake of the property tests and by a real one alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from runtime.errors import ServiceError
from runtime.names import Handle
from runtime.services.redis import SharedRedis, is_open
from tests.contract.fake_engine import FakeEngine
from tests.contract.fake_redis import FakeRedis, RedisServer
from tests.contract.fates import Fates
from tests.contract.rig import fake_rig, real_rig
from tests.unit.runtime import samples

REAL = pytest.param("real", marks=pytest.mark.engine)
PLATFORM: Final = "lockstep/platform:latest"
ADMIN: Final = "an admin's password"

SHOP, BLOG = Handle("shop"), Handle("blog")


@pytest.fixture(params=["fake", REAL])
async def redis(request: pytest.FixtureRequest, home: Path) -> AsyncIterator[SharedRedis]:
    async with _fake(home) if request.param == "fake" else _real(home) as found:
        await found.ensure(PLATFORM, {BLOG: "blog's password"})
        yield found


@asynccontextmanager
async def _fake(home: Path) -> AsyncIterator[SharedRedis]:
    async with fake_rig() as rig:
        assert isinstance(rig.fleet.engine, FakeEngine)
        world = rig.fleet.engine.world
        world.images["sha256:" + "e" * 64] = {PLATFORM}
        server = RedisServer(world, f"{rig.instance}-redis", ADMIN)
        settings = samples.settings(home, instance=rig.instance)
        yield FakeRedis(rig.fleet, settings, ADMIN, server, world, Fates())


@asynccontextmanager
async def _real(home: Path) -> AsyncIterator[SharedRedis]:
    async with real_rig() as rig:
        redis = SharedRedis(rig.fleet, samples.settings(home, instance=rig.instance), ADMIN)
        try:
            yield redis
        finally:
            await rig.fleet.remove_container(redis.container)


async def test_users_are_let_in_as_themselves(redis: SharedRedis) -> None:
    assert await redis.answers()
    assert await redis.lets_in(BLOG, "blog's password") is None
    assert await redis.lets_in(BLOG, "another") is not None
    assert await redis.lets_in(SHOP, "shop's password") is not None
    await redis.admit(SHOP, "shop's password")
    await redis.admit(SHOP, "shop's password")
    assert await redis.lets_in(SHOP, "shop's password") is None
    users = await redis.users()
    assert is_open(users["shop"], SHOP, "shop's password")
    assert not is_open(users["shop"], SHOP, "another")
    assert not is_open(users["shop"], BLOG, "shop's password")


async def test_password_is_replaced(redis: SharedRedis) -> None:
    await redis.admit(SHOP, "old password")
    await redis.admit(SHOP, "new password", renew=True)
    assert await redis.lets_in(SHOP, "new password") is None
    assert await redis.lets_in(SHOP, "old password") is not None


async def test_user_that_was_expelled_is_gone(redis: SharedRedis) -> None:
    await redis.expel(BLOG)
    await redis.expel(BLOG)
    assert await redis.lets_in(BLOG, "blog's password") is not None
    assert "blog" not in await redis.users()


async def test_use_of_an_app_is_its_own(redis: SharedRedis) -> None:
    await redis.admit(SHOP, "shop's password")
    async with redis._connect(BLOG, "blog's password") as blog, redis._connect(SHOP, "shop's password") as shop:
        await blog.set("blog:1", "one")
        await blog.set("blog:2", "two")
        await shop.set("shop:1", "one")
        found = await redis.use(BLOG)
    assert (found.keys, found.connections) == (2, 1)
    assert found.memory > 0
    assert found.version.split(".")[0].isdigit()
    assert (await redis.use(SHOP)).connections == 0


async def test_server_that_is_away_has_no_users_and_knows_them_when_it_is_back(redis: SharedRedis) -> None:
    rig_engine = redis._fleet.engine
    await rig_engine.post(f"/containers/{redis.container}/stop", t=5)
    assert await redis.answers() is None
    assert await redis.users() == {}
    with pytest.raises(ServiceError, match="the shared redis does not answer"):
        await redis.use(BLOG)
    assert await redis.lets_in(BLOG, "blog's password") is not None
    await redis.ensure(PLATFORM, {})
    assert await redis.lets_in(BLOG, "blog's password") is None
