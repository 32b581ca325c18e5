"""The settings of an app that outrank its manifest, value by value: application > manifest > default.

`merge` is the one place where they become part of a spec, when a release is made. Jobs are merged by name; a value
that is not given here stays what the manifest or the platform's default says.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, Field

from runtime.errors import ManifestError
from runtime.model import (
    WEB,
    AppSpec,
    CronJob,
    Dialect,
    Hook,
    Limits,
    Process,
    ProcessKind,
    ProcessName,
    Release,
    Shell,
    Value,
    WorkerFailure,
)
from runtime.scheduler.schedule import EVERY, Schedule, ScheduleError
from runtime.sizes import Size, limits_of

JOB_TIMEOUT: Final = 300.0  # seconds; of Deploio's jobs, and of those that the settings of an app add
RELEASE_TIMEOUT: Final = 3600.0  # seconds; of a Procfile's release, as on Heroku
DEPLOY_JOB: Final = "deploy-job"  # the name of a deploy job that is given none
MAX_COMMAND: Final = 100_000  # bytes; Linux takes at most 128 KiB in one argument
MAX_WORKERS: Final = 3  # worker jobs that the settings of an app may have, as with Deploio
MAX_CRONS: Final = 20
_ANY_DAY: Final = datetime(2000, 1, 1, tzinfo=UTC)  # where the search for a first slot begins

Item = TypeVar("Item", Process, CronJob)


def _command(text: str) -> str:
    if not text.strip() or "\0" in text or len(text.encode()) > MAX_COMMAND:
        raise ValueError(f"is not a command: use 1 to {MAX_COMMAND} bytes")
    return text


def _job_name(text: str) -> str:
    if text == WEB:
        raise ValueError("'web' is the name of the app's web process: choose another one")
    return text


def _schedule(text: str) -> str:
    """The five fields, read by the scheduler's own parser."""
    try:
        Schedule(text, "UTC", "").after(_ANY_DAY)
    except ScheduleError as error:
        raise ValueError(str(error)) from None
    return " ".join(EVERY.get(text.strip().lower(), text).split())


Command = Annotated[str, AfterValidator(_command)]
JobName = Annotated[ProcessName, AfterValidator(_job_name)]
Retries = Annotated[int, Field(ge=0, le=5)]
Timeout = Annotated[float, Field(ge=1, le=1800)]  # seconds


class WorkerJob(Value):
    """A worker, or what is changed of the manifest's worker of that name."""

    name: JobName
    command: Command | None = None
    size: Size | None = None


class ScheduledJob(Value):
    """A cron job, or what is changed of the manifest's job of that name."""

    name: JobName
    command: Command | None = None
    schedule: Annotated[str, Field(max_length=200), AfterValidator(_schedule)] | None = None
    size: Size | None = None
    retries: Retries | None = None
    timeout: Timeout | None = None


class DeployJob(Value):
    """The command that has to succeed before a release goes live, or what is changed of the manifest's."""

    enabled: bool | None = None  # False: none is run, whatever the manifest says
    name: ProcessName | None = None
    command: Command | None = None
    retries: Retries | None = None
    timeout: Timeout | None = None


class Layer(Value):
    """All of them; what is None or absent is left to the manifest."""

    size: Size | None = None  # of web, and of the deploy job
    workers: tuple[WorkerJob, ...] = Field(default=(), max_length=MAX_WORKERS)
    crons: tuple[ScheduledJob, ...] = Field(default=(), max_length=MAX_CRONS)
    deploy_job: DeployJob = DeployJob()
    worker_failure: WorkerFailure | None = None


def merge(spec: AppSpec, layer: Layer) -> AppSpec:
    """The spec that a release is made of. Raises ManifestError when the two do not fit together."""
    if layer == Layer():
        return spec
    _check_names(spec, layer)
    web = () if spec.web is None else (_changed(spec.web, limits=_limits(layer.size)),)
    workers = {item.name: item for item in spec.workers}
    workers |= {job.name: _worker(job, workers.get(job.name), spec) for job in layer.workers}
    crons = {item.name: item for item in spec.crons}
    crons |= {job.name: _cron(job, crons.get(job.name), spec) for job in layer.crons}
    failure = spec.worker_failure if layer.worker_failure is None else layer.worker_failure
    update = {
        "processes": (*web, *workers.values()),
        "crons": tuple(crons.values()),
        "hooks": _hooks(spec, layer),
        "worker_failure": failure,
    }
    return spec.model_copy(update=update)


def base_of(release: Release) -> AppSpec:
    """What the release's manifest alone asks for."""
    return release.spec if release.asked is None else release.asked


def default_limits(spec: AppSpec) -> Limits:
    """What a job gets that names no size."""
    return limits_of("micro") if spec.dialect is Dialect.DEPLOIO else Limits()


def default_timeout(spec: AppSpec, kind: type[CronJob | Hook]) -> float:
    """The seconds that a cron job or a hook may take whose manifest says nothing."""
    if spec.dialect is Dialect.DEPLOIO:
        return JOB_TIMEOUT
    if spec.dialect is Dialect.PROCFILE and kind is Hook:
        return RELEASE_TIMEOUT
    return float(kind.model_fields["timeout"].default)


def _check_names(spec: AppSpec, layer: Layer) -> None:
    workers = {item.name for item in spec.workers} | {job.name for job in layer.workers}
    crons = {item.name for item in spec.crons} | {job.name for job in layer.crons}
    for name in sorted(workers & crons):
        raise ManifestError(
            f"'{name}' is a worker and a cron job, one in {spec.dialect.value} and one in the settings of the app: "
            "choose another name for one of them"
        )


def _worker(job: WorkerJob, base: Process | None, spec: AppSpec) -> Process:
    if base is None:
        base = Process(
            name=job.name,
            kind=ProcessKind.WORKER,
            command=_needed(job.command, f"--worker-job-name {job.name} --worker-job-command", job.name),
            shell=_shell(spec),
            limits=default_limits(spec),
            grace=15.0 if spec.web is None else spec.web.grace,
        )
    return _changed(base, command=job.command, limits=_limits(job.size))


def _cron(job: ScheduledJob, base: CronJob | None, spec: AppSpec) -> CronJob:
    if base is None:
        flags = f"--scheduled-job-name {job.name}"
        base = CronJob(
            name=job.name,
            command=_needed(job.command, f"{flags} --scheduled-job-command", job.name),
            schedule=_needed(job.schedule, f"{flags} --scheduled-job-schedule", job.name),
            shell=_shell(spec),
            limits=default_limits(spec),
            timeout=JOB_TIMEOUT,
            grace=15.0 if spec.web is None else spec.web.grace,
        )
    limits = _limits(job.size)
    return _changed(
        base, command=job.command, schedule=job.schedule, limits=limits, retries=job.retries, timeout=job.timeout
    )


def _hooks(spec: AppSpec, layer: Layer) -> tuple[Hook, ...]:
    job = layer.deploy_job
    if job.enabled is False:
        return ()
    first, rest = (spec.hooks[0], spec.hooks[1:]) if spec.hooks else (None, ())
    if first is None:
        if job == DeployJob(enabled=job.enabled):
            return ()
        command = _needed(job.command, "--deploy-job-command", "the deploy job")
        first = Hook(name=DEPLOY_JOB, command=command, shell=_shell(spec), limits=default_limits(spec))
    of_size = _limits(layer.size)
    changed = first.model_copy(
        update=_given(name=job.name, command=job.command, limits=of_size, retries=job.retries, timeout=job.timeout)
    )
    return (changed, *rest)


def _needed(value: str | None, flag: str, what: str) -> str:
    if value is None:
        raise ManifestError(
            f"the settings of the app change {what}, which its manifest does not have: "
            f"give all of it with 'apps:update APP {flag} …', or delete it there"
        )
    return value


def _shell(spec: AppSpec) -> Shell:
    return Shell.SH if spec.web is None else spec.web.shell


def _limits(size: Size | None) -> Limits | None:
    return None if size is None else limits_of(size)


def _changed(item: Item, **values: Any) -> Item:
    return item.model_copy(update=_given(**values))


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
