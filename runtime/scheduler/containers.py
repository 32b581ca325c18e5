"""The containers of runs: found by name or label, made, started, waited for, stopped, removed."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from runtime import names
from runtime.engine import specs
from runtime.engine.client import Engine
from runtime.engine.logs import LogLine, container_logs
from runtime.engine.specs import Place, Spec
from runtime.errors import Conflict, DeadlinePassed, EngineError, EngineUnreachable, NotFound
from runtime.model import CronJob, CronRun, Release
from runtime.scheduler.ending import Found
from runtime.scheduler.runlog import TAIL_LINES, LogWriter

log = logging.getLogger(__name__)

NEVER: Final = "0001-01-01"  # what the engine says of what did not happen
SLOT: Final = "lockstep.slot"  # label; with the run's number it tells whose container it is
PROBE_PAUSE: Final = 0.5  # seconds between questions to an engine that is away
# The head of a log must still be there when the run has ended, and this driver packs what it rotates.
LOG: Final = {"Type": "local", "Config": {"max-size": "20m", "max-file": "5"}}


class Link:
    """The connection to the engine, which may be away when the scheduler starts, and may go and come back."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._is_open = False
        self._probe: asyncio.Task[None] | None = None

    async def up(self, seconds: float) -> None:
        """Return once the engine answers. Raises DeadlinePassed."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._until_it_answers(), name="engine probe")
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._probe)
        except TimeoutError:
            raise DeadlinePassed("an answer of the docker engine", seconds) from None

    async def close(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
        await self.engine.close()

    async def _until_it_answers(self) -> None:
        said = False
        while True:
            try:
                if not self._is_open:
                    await self.engine.open()
                    self._is_open = True
                async with self.engine.request("GET", "/_ping"):
                    return
            except (EngineError, ValueError) as error:  # ValueError: not JSON, an engine that is starting up
                if not said:
                    log.warning("waiting for the docker engine: %s", error)
                said = True
                await asyncio.sleep(PROBE_PAUSE)


class Containers:
    """One container per run; its name follows from the run, so there can not be two."""

    def __init__(self, link: Link, instance: str) -> None:
        self.link = link
        self._engine = link.engine
        self._instance = instance

    def name(self, run: CronRun) -> str:
        return names.one_off(self._instance, run.app, run.job, f"r{run.id}")

    async def find(self, run: CronRun) -> Found | None:
        try:
            item = await self._engine.get(f"/containers/{self.name(run)}/json")
        except NotFound:
            return None
        if item["Config"]["Labels"].get(SLOT) == _slot(run):
            return _found(item)
        await self.remove_named(item["Id"])  # of an instance of the same name that was made anew
        return None

    async def create(self, run: CronRun, release: Release, job: CronJob, place: Place) -> None:
        with suppress(Conflict):
            await self._engine.post("/containers/create", spec_of(run, release, job, place), name=self.name(run))

    async def start(self, run: CronRun) -> None:
        await self._engine.post(f"/containers/{self.name(run)}/start")

    async def until_ended(self, run: CronRun) -> None:
        """Return when the container runs no more, or is gone."""
        with suppress(NotFound):
            path = f"/containers/{self.name(run)}/wait"
            async with self._engine.request("POST", path, streaming=True) as response:
                answer = await response.read()
            try:
                json.loads(answer)["StatusCode"]
            except (ValueError, KeyError, TypeError):
                raise EngineUnreachable("the engine stopped while a run was waited for") from None

    async def stop(self, run: CronRun, grace: float) -> None:
        """SIGTERM, the grace, SIGKILL; returns when it runs no more."""
        with suppress(NotFound):
            path, limit = f"/containers/{self.name(run)}/stop", {"t": max(1, round(grace))}
            async with self._engine.request("POST", path, limit, streaming=True):
                pass

    async def kill(self, run: CronRun) -> None:
        """SIGKILL, if it runs."""
        with suppress(NotFound, Conflict):
            await self._engine.post(f"/containers/{self.name(run)}/kill", signal="KILL")

    async def run_inside(self, run: CronRun, words: tuple[str, ...]) -> int | None:
        """Run a command in the container to its end, what it writes is dropped; its exit code, None when the
        container ended before or with it."""
        body = {"Cmd": list(words), "AttachStdout": True, "AttachStderr": True}
        try:
            made = await self._engine.post(f"/containers/{self.name(run)}/exec", body)
            path, start = f"/exec/{made['Id']}", json.dumps({"Detach": False, "Tty": False}).encode()
            headers = {"Content-Type": "application/json"}
            async with self._engine.request(
                "POST", f"{path}/start", data=start, headers=headers, streaming=True
            ) as answer:
                async for _ in answer.content.iter_any():
                    pass
            code = (await self._engine.get(f"{path}/json"))["ExitCode"]
        except (NotFound, Conflict):  # Conflict: it does not run any more
            return None
        return None if code is None else int(code)

    async def keep_log(self, run: CronRun, writer: LogWriter) -> None:
        """Hand over the log: all of it, or its head and then its tail."""
        await keep_log(self._engine, self.name(run), writer)

    async def remove(self, run: CronRun) -> None:
        await self.remove_named(self.name(run))

    async def remove_named(self, name: str) -> None:
        with suppress(NotFound, Conflict):  # Conflict: its removal is under way
            await self._engine.delete(f"/containers/{name}", force=True, v=True)

    async def all(self) -> dict[str, int]:
        """The id of every container of a run of this instance, with the run's number."""
        wanted = [f"{names.INSTANCE}={self._instance}", f"{names.KIND}={names.CRON}"]
        found = await self._engine.get("/containers/json", all=True, filters={"label": wanted})
        numbers = {item["Id"]: item["Labels"].get(names.RUN, "") for item in found}
        return {container: int(number) if number.isdigit() else 0 for container, number in numbers.items()}


async def keep_log(engine: Engine, container: str, writer: LogWriter) -> None:
    """Hand over a container's log: all of it, or its head and then its tail; nothing when it is gone."""
    async with aclosing(_log_of(engine, container)) as lines:
        async for line in lines:
            if not writer.add(line):
                break
        else:
            return
    async with aclosing(_log_of(engine, container, TAIL_LINES)) as lines:
        async for line in lines:
            writer.add_tail(line)


async def _log_of(engine: Engine, container: str, tail: int | None = None) -> AsyncGenerator[LogLine, None]:
    with suppress(NotFound):
        async for line in container_logs(engine, container, tail=tail):
            yield line


def spec_of(run: CronRun, release: Release, job: CronJob, place: Place) -> Spec:
    """The container of a run: web's image, environment, mounts and network, and which tick it is."""
    tick = (("LOCKSTEP_RUN", str(run.id)), ("LOCKSTEP_SLOT", _slot(run)))
    spec = specs.one_off_container(
        release,
        replace(place, extra_env=(*place.extra_env, *tick)),
        kind=names.CRON,
        name=job.name,
        words=specs.cron_words(job),
        limits=job.limits,
        grace=job.grace,
        extra_labels={names.RUN: str(run.id), SLOT: _slot(run)},
    )
    spec["HostConfig"] = {**spec["HostConfig"], "LogConfig": LOG}
    return spec


def _slot(run: CronRun) -> str:
    return run.slot.astimezone(UTC).isoformat()


def _found(item: dict[str, Any]) -> Found:
    state = item["State"]
    started, ended = _moment(state["StartedAt"]), _moment(state["FinishedAt"])
    if state["Running"] or state["Restarting"]:
        ended = None
    elif started is not None:
        ended = started if ended is None else max(started, ended)  # of a quick one the engine notes the end first
    return Found(
        id=item["Id"],
        started_at=started,
        ended_at=ended,
        exit_code=int(state["ExitCode"]),
        out_of_memory=bool(state["OOMKilled"]),
    )


def _moment(text: str) -> datetime | None:
    return None if text.startswith(NEVER) else datetime.fromisoformat(text).astimezone(UTC)
