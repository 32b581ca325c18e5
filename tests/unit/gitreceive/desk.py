"""An operator's session without SSH and without an engine: streams that keep what is written, a real store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from builder.model import Stack
from gitreceive.commands import Commands
from gitreceive.commands.desk import Operations
from gitreceive.model import Terminal
from gitreceive.push import Pushes
from runtime.apps import Apps
from runtime.deployer import Deployer
from runtime.errors import EngineUnreachable, LockstepError
from runtime.logbook.logbook import Logbook
from runtime.logs import AppLogs
from runtime.model import MIB, Key
from runtime.parts import Parts
from runtime.runs.keeper import Runs
from runtime.store import Store
from tests.unit.runtime import samples


class Absent:
    """Stands for a part that the test does without: touching it fails."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} of a part that is not there was asked")


class NoEngine:
    """An engine that does not answer."""

    def __getattr__(self, name: str) -> Any:
        raise EngineUnreachable("the engine does not answer")


def parts_without_engine(folder: Path, store: Store, engine: object | None = None) -> Parts:
    absent = cast(Any, engine or Absent())
    return Parts(
        settings=samples.settings(folder),
        store=store,
        fleet=absent,
        router=absent,
        redis=absent,
        platform_image="",
        wake_scheduler=lambda: None,
        clock=lambda: samples.NOW,
        logbook=Logbook(folder / "logs", MIB),
    )


@dataclass
class Streams:
    """What a session writes, and what its client types."""

    typed: bytes = b""
    terminal: Terminal | None = None
    on_signal: Callable[[str], None] | None = None
    source: str = "192.0.2.7"
    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)

    async def read(self, limit: int = 65536) -> bytes:
        found, self.typed = self.typed[:limit], self.typed[limit:]
        return found

    def write(self, data: bytes, *, error: bool = False) -> None:
        (self.err if error else self.out).extend(data)

    async def drain(self) -> None:
        pass


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


class Office:
    """Runs commands as the SSH session does: an error is its sentence and its exit code."""

    def __init__(self, folder: Path, engine: object | None = None) -> None:
        self.folder = folder
        self.store = samples.new_store(folder)
        self.parts = parts_without_engine(folder, self.store, engine)
        deployer = Deployer(self.parts)
        apps = Apps(self.parts, deployer)
        self.pushes = Pushes(self.parts, deployer, apps, cast(Stack, Absent()))
        logs, runs = AppLogs(self.parts), Runs(self.parts)
        self.operations = Operations(self.parts, deployer, apps, logs, self.pushes, runs)
        self.commands = Commands(self.operations)

    async def run(
        self, *words: str, who: Key = samples.ADMIN, typed: bytes = b"", terminal: Terminal | None = None
    ) -> Done:
        streams = Streams(typed, terminal)
        try:
            code = await self.commands.run(who, words, streams)
        except LockstepError as error:
            return Done(error.exit_code, streams.out.decode(), f"{streams.err.decode()}{error}")
        return Done(code, streams.out.decode(), streams.err.decode())

    def add_app(self, name: str = "shop", *numbers: int, live: int | None = None, **changes: Any) -> None:
        with self.store.write() as tx:
            tx.apps.create(name, samples.NOW)
            for number in numbers:
                tx.releases.add(samples.release(samples.web(), number=number, app=name, **changes))
            tx.apps.set_current(name, live)


@contextmanager
def office_in(folder: Path, engine: object = None) -> Iterator[Office]:
    """`engine` stands for engine, router and Redis; without it touching one fails the test."""
    found = Office(folder, engine)
    yield found
    found.store.close()
