"""`.deploio.yaml`, the dialect of Deploio. docs/manifest/deploio.yaml describes every key.

Real files carry keys of other configuration layers, so a foreign key is a warning and a key without a value
counts as absent.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from builder.manifest import document, fields, procfile
from builder.manifest.check import read_leniently
from builder.manifest.pending import not_acted_on
from builder.model import Source
from runtime.layer import JOB_TIMEOUT
from runtime.model import (
    WEB,
    AppSpec,
    Build,
    CatchUp,
    CronJob,
    Dialect,
    EnvName,
    EnvVar,
    Health,
    Hook,
    Manifest,
    Process,
    ProcessKind,
    ProcessName,
    Shell,
    Value,
    WorkerFailure,
)
from runtime.sizes import Size, limits_of

FILE: Final = Dialect.DEPLOIO.value
GRACE: Final = 30.0  # seconds; Deploio states none, this is the default of the Kubernetes below it


class Entry(Value):
    """Base of the file's structures: camelCase keys."""

    model_config = ConfigDict(alias_generator=to_camel)


class Variable(Entry):
    """One entry of `env` or `buildEnv`."""

    name: EnvName
    value: str
    sensitive: bool = False


class HttpGet(Entry):
    """The `healthProbe.httpGet` key."""

    path: fields.UrlPath


class HealthProbe(Entry):
    """The `healthProbe` key."""

    http_get: HttpGet | None = None
    period_seconds: Annotated[int, Field(ge=1, le=3600)] = 10


class DeployJob(Entry):
    """The `deployJob` key."""

    name: ProcessName
    command: fields.Command
    retries: fields.Retries = 0
    timeout: fields.GoDuration = JOB_TIMEOUT


class WorkerJob(Entry):
    """One entry of `workerJobs`."""

    name: fields.JobName
    command: fields.Command
    size: Size = "micro"


class ScheduledJob(Entry):
    """One entry of `scheduledJobs`."""

    name: fields.JobName
    command: fields.Command
    schedule: fields.Schedule
    size: Size = "micro"
    retries: fields.Retries = 0
    timeout: fields.GoDuration = JOB_TIMEOUT


def _variables(given: tuple[Variable, ...]) -> tuple[Variable, ...]:
    fields.no_twice(tuple(one.name for one in given))
    return given


Variables = Annotated[tuple[Variable, ...], AfterValidator(_variables)]


class Document(Entry):
    """The file as it is written."""

    size: Size = "micro"
    env: Variables = ()
    build_env: Variables = ()
    port: fields.Port = 8080
    replicas: fields.Replicas = 1
    enable_basic_auth: bool = False
    health_probe: HealthProbe | None = None
    deploy_job: DeployJob | None = None
    worker_jobs: tuple[WorkerJob, ...] = Field(default=(), max_length=fields.MAX_JOBS)
    scheduled_jobs: tuple[ScheduledJob, ...] = Field(default=(), max_length=fields.MAX_JOBS)

    @model_validator(mode="after")
    def _unique_names(self) -> Document:
        # Deploio keeps two lists; here ps, logs and cron name both, so one name means one job.
        workers, crons = [one.name for one in self.worker_jobs], [one.name for one in self.scheduled_jobs]
        fields.one_namespace([("workerJobs", workers), ("scheduledJobs", crons)])
        return self


def read_deploio(source: Source) -> Manifest:
    """The manifest of a commit that has a `.deploio.yaml`. Raises ManifestError, SourceError."""
    raw = document.load(FILE, source.read(FILE) or b"")
    app, foreign = read_leniently(Document, FILE, raw)
    types = procfile.entries(source)
    warnings = (*foreign, *_overridden(app), *_other_types(types), *not_acted_on(Dialect.DEPLOIO, raw))
    return Manifest(spec=_spec(app, types.get(WEB)), warnings=warnings)


def _spec(app: Document, web_command: str | None) -> AppSpec:
    return AppSpec(
        dialect=Dialect.DEPLOIO,
        build=Build(env=_env(app.build_env)),
        processes=(_web(app, web_command), *(_worker(job) for job in app.worker_jobs)),
        crons=tuple(_cron(job) for job in app.scheduled_jobs),
        hooks=(_hook(app.deploy_job, app.size),) if app.deploy_job else (),
        env=_env(app.env),
        worker_failure=WorkerFailure.WARN,
    )


def _web(app: Document, command: str | None) -> Process:
    return Process(
        name=WEB,
        kind=ProcessKind.WEB,
        command=command,
        shell=Shell.BASH,
        replicas=app.replicas,
        limits=limits_of(app.size),
        port=app.port,
        health=_health(app.health_probe or HealthProbe()),
        grace=GRACE,
    )


def _worker(job: WorkerJob) -> Process:
    return Process(
        name=job.name,
        kind=ProcessKind.WORKER,
        command=job.command,
        shell=Shell.BASH,
        limits=limits_of(job.size),
        grace=GRACE,
    )


def _cron(job: ScheduledJob) -> CronJob:
    return CronJob(
        name=job.name,
        schedule=job.schedule,
        command=job.command,
        shell=Shell.BASH,
        limits=limits_of(job.size),
        timeout=job.timeout,
        grace=GRACE,
        retries=job.retries,
        # Deploio says nothing of missed slots; a Kubernetes CronJob starts the latest missed one once it is back.
        catch_up=CatchUp.ONCE,
    )


def _hook(job: DeployJob, size: Size) -> Hook:
    # The job has no size of its own in the file; migrations are the app's own code, so the app's size is given.
    return Hook(
        name=job.name,
        command=job.command,
        shell=Shell.BASH,
        limits=limits_of(size),
        timeout=job.timeout,
        retries=job.retries,
    )


def _health(probe: HealthProbe) -> Health:
    return Health(path=probe.http_get.path if probe.http_get else None, period=float(probe.period_seconds))


def _env(variables: tuple[Variable, ...]) -> tuple[EnvVar, ...]:
    return tuple(EnvVar(name=one.name, value=one.value, sensitive=one.sensitive) for one in variables)


def _overridden(app: Document) -> list[str]:
    return [
        f"{FILE}: env[{index}]: PORT is overridden, the platform sets it to {app.port}, change 'port' instead"
        for index, one in enumerate(app.env)
        if one.name == "PORT" and one.value != str(app.port)
    ]


def _other_types(types: dict[str, str]) -> list[str]:
    others = [name for name in types if name != WEB]
    if not others:
        return []
    advice = "only 'web' is used beside .deploio.yaml, write the others as workerJobs or deployJob"
    return [f"{procfile.FILE}: {', '.join(others)}: {advice}"]
