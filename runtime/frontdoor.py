"""The visitors' way in: one request to the router's published port, as a browser on this machine would make it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import aiohttp

from runtime.routes import NOBODY
from runtime.settings import Settings

ANSWER_DEADLINE: Final = 5.0  # seconds
LOOKED_AT: Final = 400  # bytes of an answer


@dataclass(frozen=True)
class Welcome:
    """What a visitor was answered."""

    status: int
    body: str  # its first bytes

    @property
    def of_nobody(self) -> bool:
        """The router itself says that no app has this host name."""
        return bool(self.status == NOBODY["status_code"] and self.body == NOBODY["body"])


async def ask_front_door(settings: Settings, host: str, path: str) -> Welcome | None:
    """What is answered to a visitor of `host`; None when nothing is."""
    address = "127.0.0.1" if settings.http_host == "0.0.0.0" else settings.http_host  # noqa: S104
    timeout = aiohttp.ClientTimeout(total=ANSWER_DEADLINE)
    url = f"http://{address}:{settings.http_port}{path}"
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, headers={"Host": host}, allow_redirects=False) as response,
        ):
            return Welcome(response.status, (await response.content.read(LOOKED_AT)).decode(errors="replace"))
    except (aiohttp.ClientError, TimeoutError):
        return None
