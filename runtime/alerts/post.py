"""Sending an alert over HTTP to an address that a manifest chose, which is trusted with nothing."""

from __future__ import annotations

import asyncio
import errno
import functools
import ipaddress
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

DEADLINE: Final = 10.0  # seconds for one try, from the look-up of the name to the head of the answer
MOST_AT_ONCE: Final = 50  # connections
LOOK_UPS: Final = 8  # names that are looked up at once
NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
HERE: Final = "it is an address of this machine, which the setting alerts_to_host allows"


@dataclass(frozen=True)
class Answer:
    """How one try ended."""

    status: int | None = None
    error: str | None = None  # None: it was taken


class Poster:
    """Posts JSON; follows no redirect, keeps no cookie, reads nothing of the answer but its status."""

    def __init__(self, *, to_host: bool) -> None:
        """`to_host` lets addresses be reached that only this machine itself can reach."""
        self._to_host = to_host
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, url: str, body: bytes) -> Answer:
        try:
            async with self._open().post(url, data=body, allow_redirects=False) as response:
                response.close()
                return _answer(response.status)
        except TimeoutError:
            return Answer(error=f"no answer within {DEADLINE:g} s")
        except aiohttp.ClientConnectorError as error:
            return Answer(error=f"can not connect: {_reason(error)}")
        except (aiohttp.ClientError, ValueError, OSError) as error:  # their texts may hold the URL, which is secret
            return Answer(error=f"the request failed ({type(error).__name__})")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=MOST_AT_ONCE, force_close=True, resolver=Names(), socket_factory=self._socket
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=DEADLINE),
                headers={"Content-Type": "application/json", "User-Agent": "lockstep"},
            )
        return self._session

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """A socket for one address that a name stands for: the last place where it can still be refused."""
        family, kind, protocol, _, where = address
        if not self._to_host and is_of_host(str(where[0])):
            raise OSError(errno.EACCES, HERE)
        return socket.socket(family, kind, protocol)


class Names(AbstractResolver):
    """Looks names up in threads of its own: a name server that hangs must not take those that builds run in."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="alert names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        look = functools.partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._pool, look)
        return [
            ResolveResult(
                hostname=host, host=str(where[0]), port=int(where[1]), family=kind, proto=protocol, flags=NUMERIC
            )
            for kind, _, protocol, _, where in found
        ]

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def is_of_host(text: str) -> bool:
    """Whether what answers there is this machine itself, or is meant for it alone, such as a cloud's metadata."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    address = address if mapped is None else mapped
    return address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast


def _answer(status: int) -> Answer:
    if 200 <= status < 300:
        return Answer(status)
    followed = ", and redirects are not followed" if 300 <= status < 400 else ""
    return Answer(status, f"answered {status}{followed}")


def _reason(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "there is no such host"
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return "its certificate is not accepted"
    if HERE in str(error.os_error):
        return HERE
    number = error.os_error.errno
    return type(error.os_error).__name__ if number is None else os.strerror(number).lower()
