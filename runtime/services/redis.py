"""The shared Redis: one server, noeviction, one ACL user per app, named by its handle, that sees only `HANDLE:*`.

Users are projections of the store: they are written to the server's ACL file, so that it knows them after a
restart of its own, and made again from the store whenever the control plane starts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from runtime import names
from runtime.engine.fleet import Fleet
from runtime.engine.specs import LOG, PIDS, Spec
from runtime.errors import ServiceError
from runtime.names import Handle
from runtime.place import REDIS_HOST, REDIS_PORT, prefix_of
from runtime.settings import Settings

INSIDE: Final = "/run/lockstep"
DATA: Final = "/var/lib/redis"
NETWORK: Final = "shared-services"  # hyphenated, so that no app's network is named so (runtime.names)
ONCE: Final = Retry(NoBackoff(), 0)  # the library would try a refused password again for seconds
READY_DEADLINE: Final = 60.0  # seconds; a large append-only file takes a while to load
COUNTED: Final = 100_000  # keys of an app after which they are not counted any more
MEMORY: Final = 512 * 1024 * 1024  # bytes of data, then writes fail (noeviction)

# What an app may do with its own keys and channels. Redis filters arguments by key pattern, but not these
# commands, which would show or destroy what other apps have: SCAN, KEYS, RANDOMKEY and DBSIZE look at all keys,
# FUNCTION and SCRIPT FLUSH reach shared code, PUBSUB lists foreign channels (redis.io, ACL categories).
CATEGORIES: Final = ("+@all", "-@admin", "-@dangerous")
COMMANDS: Final = (
    "-scan",
    "-randomkey",
    "-dbsize",
    "-function",
    "-script|flush",
    "-script|kill",
    "-pubsub",
    "+info",  # most client libraries ask for the version
)

# The server refuses to start without its ACL file, and must not start once with an open default user.
FIRST_START: Final = f'test -s {DATA}/users.acl || printf "%s\\n" "$ADMIN" > {DATA}/users.acl; exec redis-server "$@"'


def container(settings: Settings, image: str, admin_password: str) -> Spec:
    """The shared server's own container; it listens on the app networks and on a socket for us."""
    return {
        "Image": image,
        "Labels": names.labels(settings.instance, names.PLATFORM, process="redis"),
        "Entrypoint": ["/bin/sh", "-c", FIRST_START, "redis-server"],
        "Cmd": [
            *("--bind", "*", "--port", str(REDIS_PORT), "--protected-mode", "no"),
            *("--unixsocket", f"{INSIDE}/redis.sock", "--unixsocketperm", "700"),
            *("--dir", DATA, "--aclfile", f"{DATA}/users.acl"),
            *("--appendonly", "yes", "--maxmemory", str(MEMORY), "--maxmemory-policy", "noeviction"),
        ],
        "Env": [f"ADMIN=user default on #{hashlib.sha256(admin_password.encode()).hexdigest()} ~* &* +@all"],
        "HostConfig": {
            "Init": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": PIDS,
            "LogConfig": LOG,
            "RestartPolicy": {"Name": "always"},
            "NetworkMode": names.platform(settings.instance, NETWORK),
            "Mounts": [
                {"Type": "bind", "Source": str(settings.redis_run), "Target": INSIDE},
                {
                    "Type": "volume",
                    "Source": names.platform(settings.instance, "redis"),
                    "Target": DATA,
                    "VolumeOptions": {
                        "NoCopy": True,  # root's folder, since the server runs as a root without capabilities
                        "Labels": names.labels(settings.instance, names.PLATFORM),
                    },
                },
            ],
        },
    }


def is_open(rules: str, app: Handle, password: str) -> bool:
    """Whether a user's rules, as the server writes them, let the app in with its password, and to its own keys only."""
    words = rules.split()
    secrets = {word for word in words if word.startswith("#") or word == "nopass"}
    reach = {word for word in words if word.startswith(("~", "%", "&")) or word in ("allkeys", "allchannels")}
    hashed = hashlib.sha256(password.encode()).hexdigest()
    return "on" in words and secrets == {f"#{hashed}"} and reach == {f"~{prefix_of(app)}*", f"&{prefix_of(app)}*"}


@dataclass(frozen=True)
class Use:
    """What an app has in the shared server, and how full that is."""

    keys: int  # at most `COUNTED`
    connections: int
    memory: int  # bytes of the data of all apps
    version: str


class SharedRedis:
    """The running server. Raises ServiceError when it does not take a change."""

    def __init__(self, fleet: Fleet, settings: Settings, admin_password: str) -> None:
        self._fleet = fleet
        self._settings = settings
        self._admin_password = admin_password
        self.container = names.platform(settings.instance, "redis")

    async def ensure(self, image: str, users: dict[Handle, str]) -> None:
        """Have the server run with the default user closed and these users open, each with its password."""
        folder = self._settings.redis_run
        folder.mkdir(parents=True, exist_ok=True)
        network = {
            "Name": names.platform(self._settings.instance, NETWORK),
            "Driver": "bridge",
            "Internal": True,
            "CheckDuplicate": True,
            "Labels": names.labels(self._settings.instance, names.PLATFORM),
        }
        await self._fleet.ensure_network(network)
        await self._fleet.ensure_container(self.container, container(self._settings, image, self._admin_password))
        await self._fleet.events.until("the shared redis' first answer", READY_DEADLINE, self.answers)
        for app, password in users.items():
            await self.admit(app, password, renew=True)

    async def reach(self, network: str) -> bool:
        """Attach the server to an app's network; False when it is."""
        return await self._fleet.attach(self.container, network, aliases=(REDIS_HOST,))

    async def leave(self, network: str) -> None:
        await self._fleet.detach(self.container, network)

    async def admit(self, app: Handle, password: str, *, renew: bool = False) -> bool:
        """Have the app's user let in, proved the app's way: as that user, on a key of its own. False when it is.

        `renew` writes the user's rules again even if it is let in already.
        """
        rules = (await self.users()).get(app, "")
        if not renew and is_open(rules, app, password) and await self.lets_in(app, password) is None:
            return False
        await self._write_user(app, password)
        refusal = await self.lets_in(app, password)
        if refusal is not None:
            raise ServiceError(f"the shared redis does not let {app} in: {refusal}")
        return True

    async def _write_user(self, app: Handle, password: str) -> None:
        async with self._connect() as admin:
            try:
                await admin.acl_setuser(
                    app,
                    enabled=True,
                    reset=True,
                    passwords=[f"+{password}"],
                    keys=[f"{prefix_of(app)}*"],
                    channels=[f"{prefix_of(app)}*"],
                    categories=list(CATEGORIES),
                    commands=list(COMMANDS),
                )
                await admin.acl_save()
            except RedisError as error:
                raise ServiceError(f"the shared redis refused the user of {app}: {error}") from error

    async def users(self) -> dict[str, str]:
        """The rules of every user that the server knows, as it writes them; none when it is away."""
        async with self._connect() as admin:
            try:
                lines = await admin.acl_list()
            except (RedisError, OSError):
                return {}
        texts = (line.decode() if isinstance(line, bytes) else str(line) for line in lines)
        return {text.split()[1]: text for text in texts}

    async def lets_in(self, app: Handle, password: str) -> str | None:
        """None when the app's user may use its keys, else why not."""
        async with self._connect(app, password) as user:
            try:
                await user.exists(prefix_of(app))
            except (RedisError, OSError) as error:
                return str(error) or type(error).__name__
        return None

    async def use(self, app: Handle) -> Use:
        """Raises ServiceError."""
        async with self._connect() as admin:
            try:
                info = await admin.info()
                clients = await admin.client_list()
                keys = 0
                async for _ in admin.scan_iter(match=f"{prefix_of(app)}*", count=1000):
                    keys += 1
                    if keys == COUNTED:
                        break
            except (RedisError, OSError) as error:
                raise ServiceError(f"the shared redis does not answer: {str(error) or type(error).__name__}") from error
        connections = sum(client.get("user") == app for client in clients)
        return Use(keys, connections, int(info["used_memory"]), str(info["redis_version"]))

    async def expel(self, app: Handle) -> None:
        """Remove the app's user and all its keys."""
        async with self._connect() as admin:
            try:
                await admin.acl_deluser(app)
                await admin.acl_save()
                async for key in admin.scan_iter(match=f"{prefix_of(app)}*", count=1000):
                    await admin.unlink(key)
            except RedisError as error:
                raise ServiceError(f"the shared redis did not forget {app}: {error}") from error

    def _connect(self, user: str = "default", password: str | None = None) -> Redis:
        path = str(self._settings.redis_run / "redis.sock")
        return Redis(unix_socket_path=path, username=user, password=password or self._admin_password, retry=ONCE)

    async def answers(self) -> bool | None:
        try:
            async with self._connect() as admin:
                return True if await admin.ping() else None
        except (RedisError, OSError):
            return None
