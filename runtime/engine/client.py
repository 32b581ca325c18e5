"""The Docker Engine API over aiohttp: one request method, JSON and raw streams, errors translated.

The API is used as documented (https://docs.docker.com/reference/api/engine/): specs are plain dicts
made by the pure functions of `runtime.engine.specs`, and are posted as they are.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from runtime.errors import Conflict, EngineError, EngineUnreachable, NotFound, SwarmLost

DEFAULT_HOST = "unix:///var/run/docker.sock"
OLDEST_API = (1, 41)  # Docker 20.10
NEWEST_API = (1, 47)  # the newest that this code was written against
CONNECT_DEADLINE = 10.0  # seconds to reach the engine's socket
ANSWER_DEADLINE = 120.0  # seconds for an ordinary answer; streams have none
NO_MANAGER = "not a swarm manager"  # what the engine answers to every question about services then
BEING_REMOVED = "dead or marked for removal"  # the engine says of a container whose removal is under way
SWARM_LOST = "the engine is in no swarm: if that lasts, stop the server and run 'lockstep recover --home DIR'"
LINE_LIMIT = 16 * 1024 * 1024  # bytes of one JSON line in a stream

Json = Any  # what the engine answers: dicts, lists and scalars as the API documents them


class Engine:
    """A connection pool to one engine. Use as an async context manager, or `open()` and `close()`.

    Raises EngineUnreachable when nothing answers, NotFound on 404, Conflict on 409,
    SwarmLost where it is no manager of a swarm, else EngineError.
    """

    def __init__(self, host: str | None = None, *, even_if_away: bool = False) -> None:
        """With `even_if_away` it opens whether or not the engine answers; each request finds out by itself."""
        self._even_if_away = even_if_away
        self.host = host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
        self._session: aiohttp.ClientSession | None = None
        self._prefix = ""

    async def open(self) -> Engine:
        connector, base = _connector(self.host)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_DEADLINE)
        self._session = aiohttp.ClientSession(base, connector=connector, timeout=timeout)
        try:
            self._prefix = f"/v{_agree((await self.get('/version'))['ApiVersion'])}"
        except BaseException as error:
            if not (self._even_if_away and isinstance(error, EngineUnreachable)):
                await self.close()
                raise
        return self

    @property
    def prefix(self) -> str:
        """What a path begins with: the version of the API that was agreed on."""
        return self._prefix

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __aenter__(self) -> Engine:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def get(self, path: str, **params: Any) -> Json:
        return await self._json("GET", path, params)

    async def post(self, path: str, body: Json = None, **params: Any) -> Json:
        return await self._json("POST", path, params, body)

    async def delete(self, path: str, **params: Any) -> Json:
        return await self._json("DELETE", path, params)

    async def put(self, path: str, data: bytes, **params: Any) -> Json:
        async with self.request("PUT", path, params, data=data) as response:
            return _decode(await response.read())

    async def lines(
        self,
        method: str,
        path: str,
        *,
        data: AsyncIterator[bytes] | bytes | None = None,
        headers: dict[str, str] | None = None,
        **params: Any,
    ) -> AsyncGenerator[Json, None]:
        """The answer as JSON values, one a line, as they come: builds, imports, events.

        Leaving it before its end keeps the connection: use `contextlib.aclosing` where that can be.
        """
        async with self.request(method, path, params, data=data, headers=headers, streaming=True) as response:
            pending = bytearray()
            async for chunk in response.content.iter_any():
                pending += chunk
                if len(pending) > LINE_LIMIT:
                    raise EngineError(f"the engine's answer to {path} has a line over {LINE_LIMIT} bytes")
                *whole, rest = pending.split(b"\n")
                pending = bytearray(rest)
                for line in whole:
                    if line.strip():
                        yield json.loads(line)
            if pending.strip():
                yield json.loads(pending)

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        params: dict[str, Any] | None = None,
        *,
        data: Any = None,
        headers: dict[str, str] | None = None,
        streaming: bool = False,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request whose answer is below 400; `streaming` lifts the deadline on the answer."""
        if self._session is None:
            raise EngineUnreachable("the engine's connection is closed")
        timeout = aiohttp.ClientTimeout(total=None if streaming else ANSWER_DEADLINE, sock_connect=CONNECT_DEADLINE)
        try:
            async with self._session.request(
                method, self._prefix + path, params=encoded(params or {}), data=data, headers=headers, timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise refusal(response.status, await response.read())
                yield response
        except aiohttp.ClientError as error:
            raise EngineUnreachable(f"cannot reach the docker engine at {self.host}: {error}") from None
        except TimeoutError:
            raise EngineUnreachable(
                f"the docker engine at {self.host} did not answer {method} {path} in time"
            ) from None

    async def _json(self, method: str, path: str, params: dict[str, Any], body: Json = None) -> Json:
        data, headers = None, None
        if body is not None:
            data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        async with self.request(method, path, params, data=data, headers=headers) as response:
            return _decode(await response.read())


def _connector(host: str) -> tuple[aiohttp.BaseConnector, str]:
    parts = urlsplit(host)
    if parts.scheme == "unix":
        return aiohttp.UnixConnector(parts.path, limit=0), "http://engine"
    if parts.scheme == "tcp" and (context := tls_context()) is not None:
        return aiohttp.TCPConnector(ssl=context, limit=0), f"https://{parts.netloc}"
    if parts.scheme == "tcp":
        return aiohttp.TCPConnector(limit=0), f"http://{parts.netloc}"
    raise EngineUnreachable(f"the engine '{host}' is not understood: give unix://PATH or tcp://HOST:PORT")


def tls_context() -> ssl.SSLContext | None:
    """How a remote engine is spoken to as DOCKER_TLS_VERIFY and DOCKER_CERT_PATH say; None: in the clear."""
    if not os.environ.get("DOCKER_TLS_VERIFY"):
        return None
    folder = Path(os.environ.get("DOCKER_CERT_PATH", "~/.docker")).expanduser()
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def _agree(version: str) -> str:
    """The API version to speak with an engine whose newest is `version`."""
    theirs = tuple(int(part) for part in version.split("."))
    if theirs < OLDEST_API:
        raise EngineError(f"the docker engine speaks API {version} and 1.41 is needed: install Docker 20.10 or newer")
    return ".".join(str(part) for part in min(theirs, NEWEST_API))


def encoded(params: dict[str, Any]) -> dict[str, str]:
    """Query parameters as the API wants them: booleans in words, dicts (filters) as JSON, None left out."""
    found: dict[str, str] = {}
    for name, value in params.items():
        if value is None:
            continue
        if isinstance(value, bool):
            found[name] = "true" if value else "false"
        elif isinstance(value, dict | list):
            found[name] = json.dumps(value)
        else:
            found[name] = str(value)
    return found


def _decode(body: bytes) -> Json:
    return json.loads(body) if body.strip() else None


def refusal(status: int, body: bytes) -> EngineError:
    """What an answer of 400 and more is raised as."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace").strip() or f"status {status}"
    if status == 503 and NO_MANAGER in message:
        return SwarmLost(SWARM_LOST, status)
    kind = {404: NotFound, 409: Conflict}.get(status, EngineError)
    if BEING_REMOVED in message:
        kind = NotFound  # whoever asks for it comes too late, and a moment later would be told so
    return kind(f"docker engine: {message}", status)
