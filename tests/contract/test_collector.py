"""The collector beside an engine: every line once, in the right log, whatever ends in between.

Each test is run against the fake engine and, marked `engine`, against a real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from runtime import names
from runtime.engine.logs import LogLine
from runtime.logbook.collector import Collector
from runtime.logbook.entry import Entry, LogKind, Stream
from runtime.logbook.logbook import Logbook
from runtime.logbook.reading import newest
from runtime.model import MIB
from runtime.parts import Parts
from runtime.scheduler.jobs import Key
from runtime.scheduler.runlog import RunLogs
from runtime.store import Store
from tests.contract.rig import Rig, fake_rig, real_rig
from tests.unit.runtime import samples

DEADLINE = 30.0


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.engine)])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with fake_rig() if request.param == "fake" else real_rig() as rig:
        yield rig


class Server:
    """What a server that was just started has of logs."""

    def __init__(self, folder: Path, store: Store, rig: Rig) -> None:
        none: Any = None
        self.logbook = Logbook(folder / "logs", MIB)
        self.parts = Parts(
            samples.settings(folder), store, rig.fleet, none, none, "", lambda: None, logbook=self.logbook
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(Collector(self.parts).run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def entries(self) -> list[Entry]:
        return newest(self.logbook.of("shop").extent(), lambda _: True, 10**6)

    def texts(self) -> list[str]:
        return [entry.text for entry in self.entries()]

    async def until(self, text: str, times: int = 1) -> None:
        async with asyncio.timeout(DEADLINE):
            while self.texts().count(text) < times:
                await self.logbook.of("shop").grown()


@pytest.fixture
def store(tmp_path: Path) -> Any:
    store = samples.new_store(tmp_path)
    with store.write() as tx:
        tx.apps.create("shop", samples.NOW)
    yield store
    store.close()


async def start(rig: Rig, name: str, line: str, **labels: str) -> str:
    spec = rig.container("/bin/sh", "-c", line, **{"kind": "cron", "process": "job", "release": "3", **labels})
    container = await rig.fleet.create_container(f"{rig.instance}-{name}", spec)
    await rig.fleet.engine.post(f"/containers/{container}/start")
    return container


async def test_lines_of_a_service_and_of_a_container(rig: Rig, store: Store, tmp_path: Path) -> None:
    server = Server(tmp_path, store, rig)
    async with server.running():
        await start(rig, "run", "echo from a run; echo and an error >&2")
        await rig.fleet.ensure_service(rig.service("echo from a worker; sleep 100000"))
        for text in ("from a run", "and an error", "from a worker"):
            await server.until(text)
    found = {entry.text: (entry.kind, entry.process, entry.release, entry.stream) for entry in server.entries()}
    assert found == {
        "from a run": (LogKind.CRON, "job", 3, Stream.OUT),
        "and an error": (LogKind.CRON, "job", 3, Stream.ERR),
        "from a worker": (LogKind.APP, "mailer.1", 1, Stream.OUT),
    }


async def test_what_was_written_while_no_server_ran_is_there_once(rig: Rig, store: Store, tmp_path: Path) -> None:
    one = Server(tmp_path, store, rig)
    async with one.running():
        container = await start(rig, "long", "echo one; echo two; sleep 1; echo three")
        await one.until("two")
    assert one.texts() == ["one", "two"]
    assert await rig.fleet.exit_code(container) == 0
    await start(rig, "short", "echo four")
    for _ in range(2):
        other = Server(tmp_path, store, rig)
        async with other.running():
            await other.until("four")
            await other.until("three")
    assert other.texts() == ["one", "two", "three", "four"]


async def test_end_of_a_process_is_waited_for(rig: Rig, store: Store, tmp_path: Path) -> None:
    server = Server(tmp_path, store, rig)
    async with server.running():
        service = await rig.fleet.ensure_service(rig.service("echo hello; sleep 100000", number=1))
        await rig.until_running(service)
        assert await server.logbook.read_out("shop", 2, 0.05) == ["mailer.1"]
        assert await server.logbook.read_out("shop", 1, DEADLINE) == []
        await rig.fleet.stop([service])
        assert await server.logbook.read_out("shop", 2, DEADLINE) == []
        assert server.texts() == ["hello"]


async def test_cron_run_that_is_gone_is_read_from_its_kept_log(rig: Rig, store: Store, tmp_path: Path) -> None:
    server = Server(tmp_path, store, rig)
    async with server.running():
        container = await start(rig, "cron", "echo one; sleep 100000", kind=names.CRON, run="7", process="tidy_up")
        await server.until("one")
        (first,) = server.entries()
        with RunLogs(server.parts.settings.logs).writer(Key("shop", "tidy_up"), 7) as log:
            for moment, text in ((first.moment, "one"), ("2999-01-01T00:00:00.000000000Z", "two")):
                log.add(LogLine(moment, text, error=False))
        await rig.fleet.remove_container(container)
        await server.until("two")
    assert [(entry.process, entry.text) for entry in server.entries()] == [("tidy_up", "one"), ("tidy_up", "two")]


async def test_forgotten_app_is_written_of_no_more(rig: Rig, store: Store, tmp_path: Path) -> None:
    server = Server(tmp_path, store, rig)
    async with server.running():
        container = await start(rig, "run", "echo one; sleep 1; echo two")
        await server.until("one")
        server.logbook.forget("shop")
        with store.write() as tx:
            tx.apps.remove("shop")
        await rig.fleet.exit_code(container)
    assert server.texts() == []


async def test_absence_of_the_engine_is_said(rig: Rig, store: Store, tmp_path: Path) -> None:
    server = Server(tmp_path, store, rig)
    async with server.running():
        await start(rig, "run", "echo one; sleep 100000")
        await server.until("one")
        rig.fleet.events._tell({"Type": "stream", "Action": "lost"})
        await server.until("(the docker engine does not answer: lines follow when it does again)")
        await server.until("(the docker engine answers again after 0 s)")
    assert server.texts().count("one") == 1
