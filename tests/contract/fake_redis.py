"""The shared Redis in memory, behind the runtime's own `SharedRedis`: its users, and whether they are let in."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

from redis.exceptions import ConnectionError as RedisGone
from redis.exceptions import RedisError

from runtime.engine.fleet import Fleet
from runtime.errors import EngineError
from runtime.services.redis import SharedRedis
from runtime.settings import Settings
from tests.contract.fates import Fates
from tests.contract.world import World


class RedisServer:
    """Users and keys; it outlives the servers that talk to it, as its volume does."""

    def __init__(self, world: World, container: str, admin_password: str) -> None:
        self._world = world
        self._container = container
        self._admin = hashlib.sha256(admin_password.encode()).hexdigest()
        self.users: dict[str, tuple[str, str]] = {}  # name -> hash of its password, rules
        self.keys: dict[str, str] = {}
        self.clients: list[str] = []  # the user of each connection

    def check(self, user: str, password: str) -> None:
        container = self._world.container(self._container)
        if container is None or not container.running or not self._world.up:
            raise RedisGone("Error 111 connecting. Connection refused.")
        hashed = hashlib.sha256(password.encode()).hexdigest()
        known = self._admin if user == "default" else self.users.get(user, ("", ""))[0]
        if hashed != known:
            raise RedisError("invalid username-password pair or user is disabled.")


class Connection:
    """As much of redis' client as `SharedRedis` uses."""

    def __init__(self, server: RedisServer, world: World, fates: Fates, user: str, password: str) -> None:
        self._server = server
        self._world = world
        self._fates = fates
        self._user = user
        self._password = password

    async def __aenter__(self) -> Connection:
        self._server.clients.append(self._user)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.clients.remove(self._user)

    async def ping(self) -> bool:
        await self._call("PING", lambda: None)
        return True

    async def exists(self, key: str) -> int:
        return int(await self._call(f"EXISTS {key}", lambda: key in self._server.keys))

    async def set(self, key: str, value: str) -> None:
        await self._call(f"SET {key}", lambda: self._server.keys.update({key: value}))

    async def info(self) -> dict[str, Any]:
        size = sum(len(key) + len(value) for key, value in self._server.keys.items())
        found: dict[str, Any] = await self._call("INFO", lambda: {"used_memory": size, "redis_version": "7.0.15"})
        return found

    async def client_list(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = await self._call(
            "CLIENT LIST", lambda: [{"user": user} for user in self._server.clients]
        )
        return found

    async def acl_setuser(
        self, name: str, *, passwords: list[str], keys: list[str], channels: list[str], **_: Any
    ) -> None:
        def act() -> None:
            hashed = hashlib.sha256(passwords[0].removeprefix("+").encode()).hexdigest()
            reach = " ".join([*(f"~{key}" for key in keys), *(f"&{channel}" for channel in channels)])
            self._server.users[name] = (hashed, f"user {name} on #{hashed} {reach} +@all")

        await self._call(f"ACL SETUSER {name}", act)

    async def acl_deluser(self, name: str) -> None:
        await self._call(f"ACL DELUSER {name}", lambda: self._server.users.pop(name, None))

    async def acl_save(self) -> None:
        await self._call("ACL SAVE", lambda: None)

    async def acl_list(self) -> list[str]:
        found: list[str] = await self._call("ACL LIST", lambda: [rules for _, rules in self._server.users.values()])
        return found

    async def scan_iter(self, match: str, count: int) -> AsyncIterator[str]:
        for key in [key for key in self._server.keys if key.startswith(match.rstrip("*"))]:
            yield key

    async def unlink(self, key: str) -> None:
        self._server.keys.pop(key, None)

    async def _call(self, what: str, work: Any) -> Any:
        async def act() -> Any:
            self._server.check(self._user, self._password)
            given = work()
            self._world.changed(f"redis: {what}")
            return given

        try:
            return await self._fates.around(f"redis {what}", act, RedisGone("Connection reset"), 5.0)
        except EngineError as error:  # the refusal that the fates know
            raise RedisError(str(error)) from None
        except TimeoutError:
            raise RedisGone("Timeout reading from socket") from None


class FakeRedis(SharedRedis):
    def __init__(
        self, fleet: Fleet, settings: Settings, admin_password: str, server: RedisServer, world: World, fates: Fates
    ) -> None:
        super().__init__(fleet, settings, admin_password)
        self._server = server
        self._world = world
        self._fates = fates

    def _connect(self, user: str = "default", password: str | None = None) -> Any:
        return Connection(self._server, self._world, self._fates, user, password or self._admin_password)
