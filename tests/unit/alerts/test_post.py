"""Posting to real sockets on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from runtime.alerts import post
from runtime.alerts.post import HERE, Answer, Poster, is_of_host

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def receiver(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    try:
        yield f"http://127.0.0.1:{port}/secret"
    finally:
        await runner.cleanup()


async def answer(url: str, *, to_host: bool = True) -> Answer:
    poster = Poster(to_host=to_host)
    try:
        return await poster(url, b'{"app": "shop"}')
    finally:
        await poster.close()


async def test_json_is_posted() -> None:
    seen: list[tuple[str, str, bytes]] = []

    async def take(request: web.Request) -> web.Response:
        seen.append((request.method, request.content_type, await request.read()))
        return web.Response(status=204)

    async with receiver(take) as url:
        assert await answer(url) == Answer(204)
    assert seen == [("POST", "application/json", b'{"app": "shop"}')]


async def test_a_refusal_is_told() -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=503, text="x" * 1000)

    async with receiver(refuse) as url:
        assert await answer(url) == Answer(503, "answered 503")


async def test_redirects_are_not_followed() -> None:
    paths: list[str] = []

    async def redirect(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with receiver(redirect) as url:
        assert await answer(url) == Answer(307, "answered 307, and redirects are not followed")
    assert paths == ["/secret"]


async def test_an_answer_without_end_is_not_read() -> None:
    async def pour(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async with receiver(pour) as url, asyncio.timeout(5):
        assert await answer(url) == Answer(200)


async def test_who_does_not_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(post, "DEADLINE", 0.2)

    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with receiver(hang) as url:
        assert await answer(url) == Answer(error="no answer within 0.2 s")


async def test_what_can_not_be_reached_is_told_without_the_address() -> None:
    async with receiver(_never) as url:
        pass
    assert await answer(url) == Answer(error="can not connect: connection refused")
    told = [await answer(url), await answer("http://nobody.invalid/secret"), await answer("http://[::1/secret")]
    assert all(one.status is None and one.error and "secret" not in one.error for one in told)
    assert told[1].error == "can not connect: there is no such host"


async def test_addresses_of_the_machine_itself_are_refused_unless_that_is_allowed() -> None:
    seen: list[str] = []

    async def take(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.Response()

    async with receiver(take) as url:
        for form in (url, url.replace("127.0.0.1", "localhost"), url.replace("127.0.0.1", "0.0.0.0")):  # noqa: S104
            refused = await answer(form, to_host=False)
            assert refused == Answer(error=f"can not connect: {HERE}")
        assert seen == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True),  # noqa: S104
        ("::", True),
        ("169.254.169.254", True),
        ("fe80::1%eth0", True),
        ("224.0.0.1", True),
        ("10.0.0.1", False),
        ("192.168.1.20", False),
        ("93.184.216.34", False),
        ("2606:4700::1111", False),
    ],
)
def test_which_addresses_those_are(address: str, expected: bool) -> None:
    assert is_of_host(address) is expected


async def _never(_: web.Request) -> web.Response:
    raise AssertionError
