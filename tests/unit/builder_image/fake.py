"""A small server on a unix socket that speaks as much of the engine's API as these tests need."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from runtime.engine.client import Engine

IMAGE = "sha256:" + "1" * 64
DONE = {"id": "moby.image.id", "aux": {"ID": IMAGE}}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeEngine:
    """Answers a build with prepared lines and notes what it was asked."""

    def __init__(self, lines: list[dict[str, Any]], *, hang: bool = False, image: str = IMAGE) -> None:
        self.lines = lines
        self.hang = hang
        self.image = image
        self.asked: list[str] = []
        self.query: dict[str, str] = {}
        self.body = b""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.partition("/v1.41")[2] or request.path
        self.asked.append(f"{request.method} {path}")
        if path == "/version":
            return web.json_response({"ApiVersion": "1.41", "Arch": "amd64"})
        if path in ("/build", "/images/create"):
            return await self._build(request)
        if path == f"/images/{self.image}/json":
            return web.json_response({"Id": self.image})
        known = path.endswith(("/tag", "/cancel")) or request.method == "DELETE"
        return web.Response(status=201) if known else web.json_response({"message": "no such image"}, status=404)

    async def _build(self, request: web.Request) -> web.StreamResponse:
        self.query = dict(request.query)
        response = web.StreamResponse()
        await response.prepare(request)
        self.body = await request.read()
        for line in self.lines:
            await response.write(json.dumps(line).encode() + b"\n")
        if self.hang:
            await asyncio.sleep(60)
        return response


@asynccontextmanager
async def engine_with(folder: Path, handler: Handler) -> AsyncIterator[Engine]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    path = folder / "engine.sock"
    await web.UnixSite(runner, str(path)).start()
    try:
        async with Engine(f"unix://{path}") as engine:
            yield engine
    finally:
        await runner.cleanup()
