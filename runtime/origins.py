"""Where each value of an app comes from: its own settings, its manifest, or the platform's default."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from runtime.layer import Layer, ScheduledJob, WorkerJob, base_of, default_limits, default_timeout
from runtime.model import (
    MIB,
    WEB,
    AppSpec,
    CronJob,
    Dialect,
    Hook,
    Limits,
    Process,
    ProcessKind,
    Release,
    WorkerFailure,
)

APP: Final = "app"
DEFAULT: Final = "default"  # of the platform; the manifest says nothing, or the same
MASK: Final = "***"
IMAGE: Final = "the command of the image"


@dataclass(frozen=True)
class Known:
    """One value of an app."""

    what: str  # "worker clock"
    key: str  # "command"
    value: str  # variables are masked
    origin: str  # "app", the name of the manifest's file, "default"


def origins(release: Release, layer: Layer, scale: dict[str, int]) -> list[Known]:
    """Every value of processes, cron jobs, deploy jobs and variables of a release."""
    sheet = _Sheet(base_of(release), layer)
    found: list[Known] = []
    for process in release.spec.processes:
        found += sheet.process(process, scale)
    for job in release.spec.crons:
        found += sheet.cron(job)
    for hook in release.spec.hooks:
        found += sheet.hook(hook)
    found.append(sheet.worker_failure(release.spec.worker_failure))
    return found + sheet.variables(release)


def given(layer: Layer, config: Iterable[str], scale: dict[str, int]) -> list[Known]:
    """What the settings of an app say, before there is a release whose spec they are part of."""
    named = {job.name for job in layer.workers}
    other = sorted(scale.keys() - named - {WEB})
    things: list[tuple[str, Iterable[tuple[str, object]]]] = [
        ("web", [("size", layer.size), ("replicas", scale.get(WEB))]),
        *((f"worker {job.name}", [*job, ("replicas", scale.get(job.name))]) for job in layer.workers),
        *((f"worker {name}", [("replicas", scale[name])]) for name in other),
        *((f"cron {job.name}", job) for job in layer.crons),
        ("deploy job", layer.deploy_job),
        ("workers", [("failure", layer.worker_failure)]),
        ("env", dict.fromkeys(sorted(config), MASK).items()),
    ]
    return [
        Known(what, key, _seconds(value) if isinstance(value, float) else str(value), APP)
        for what, values in things
        for key, value in values
        if value is not None and not (key == "name" and what.endswith(f" {value}"))
    ]


class _Sheet:
    def __init__(self, asked: AppSpec, layer: Layer) -> None:
        self._asked = asked
        self._layer = layer
        self._file = DEFAULT if asked.dialect is Dialect.NONE else asked.dialect.value
        self._processes = {process.name for process in asked.processes}
        self._crons = {job.name for job in asked.crons}

    def process(self, process: Process, scale: dict[str, int]) -> list[Known]:
        web, there = process.kind is ProcessKind.WEB, process.name in self._processes
        what = "web" if web else f"worker {process.name}"
        own = WorkerJob(name="web-has-none", size=self._layer.size)
        job = own if web else self._worker(process.name)
        scaled = scale.get(process.name)
        replicas = process.replicas if scaled is None else scaled
        return [
            Known(what, "command", process.command or IMAGE, self._of(job.command, there, process.command is None)),
            Known(what, "limits", shown(process.limits), self._of(job.size, there, self._is_default(process.limits))),
            Known(what, "replicas", str(replicas), self._of(scaled, there, process.replicas == 1)),
        ]

    def _worker(self, name: str) -> WorkerJob:
        return next((job for job in self._layer.workers if job.name == name), WorkerJob(name=name))

    def cron(self, job: CronJob) -> list[Known]:
        given = next((item for item in self._layer.crons if item.name == job.name), ScheduledJob(name=job.name))
        there, what = job.name in self._crons, f"cron {job.name}"
        return [
            Known(what, "command", job.command, self._of(given.command, there, False)),
            Known(what, "schedule", job.schedule, self._of(given.schedule, there, False)),
            Known(what, "limits", shown(job.limits), self._of(given.size, there, self._is_default(job.limits))),
            Known(what, "retries", str(job.retries), self._of(given.retries, there, job.retries == 0)),
            Known(what, "timeout", _seconds(job.timeout), self._of(given.timeout, there, self._is_usual(job))),
        ]

    def hook(self, hook: Hook) -> list[Known]:
        given, there, what = self._layer.deploy_job, bool(self._asked.hooks), f"deploy job {hook.name}"
        return [
            Known(what, "command", hook.command, self._of(given.command, there, False)),
            Known(what, "retries", str(hook.retries), self._of(given.retries, there, hook.retries == 0)),
            Known(what, "timeout", _seconds(hook.timeout), self._of(given.timeout, there, self._is_usual(hook))),
        ]

    def worker_failure(self, value: WorkerFailure) -> Known:
        origin = APP if self._layer.worker_failure is not None else self._file
        default = WorkerFailure.WARN if self._asked.dialect is Dialect.DEPLOIO else WorkerFailure.UNDO
        return Known("workers", "failure", value.value, DEFAULT if origin != APP and value is default else origin)

    def variables(self, release: Release) -> list[Known]:
        of_file = {variable.name: self._file for variable in self._asked.env}
        found = {**of_file, **dict.fromkeys(release.config, APP)}
        return [Known("env", name, MASK, origin) for name, origin in sorted(found.items())]

    def _of(self, given: object, there: bool, default: bool) -> str:
        if given is not None:
            return APP
        return DEFAULT if default or not there else self._file

    def _is_default(self, limits: Limits) -> bool:
        return limits in (default_limits(self._asked), Limits())

    def _is_usual(self, item: CronJob | Hook) -> bool:
        return item.timeout == default_timeout(self._asked, type(item))


def _seconds(value: float) -> str:
    return f"{value:g} s"


def shown(limits: Limits) -> str:
    """ "micro (0.125 cores, 256M)", "1 cores, 512M"."""
    text = f"{limits.cpu:g} cores, {limits.memory // MIB}M"
    return text if limits.size is None else f"{limits.size} ({text})"
