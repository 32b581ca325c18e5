"""`.paas/app.yaml`, the dialect of koyracloud, with additions of ours.

Ours: `grace` (top and per worker), `worker_failure`, and per cron job `timezone`, `timeout`, `overlap`,
`catch_up`, `retries`, `serial`, `blocks_deploy`, `stop`. `name` and `start` may be missing. docs/manifest/app.yaml
describes every key.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from builder.manifest import document, fields
from builder.manifest.check import lines, path_text, read
from builder.manifest.pending import not_acted_on
from builder.model import Source
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
    Language,
    Manifest,
    Overlap,
    Process,
    ProcessKind,
    StaticSite,
    Value,
    WorkerFailure,
)

FILE: Final = Dialect.PAAS.value

_RUNTIMES: Final[dict[str, tuple[Language, ...]]] = {
    "python": (Language.PYTHON,),
    "node": (Language.NODE,),
    "python+node": (Language.PYTHON, Language.NODE),
    "static": (Language.STATIC,),
    "dockerfile": (Language.DOCKERFILE,),
}
_APP_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")


def _name(text: str) -> str:
    if not _APP_LABEL.fullmatch(text):
        raise ValueError("must be 1 to 63 letters, digits, '-' and '_'")
    return text


def _runtime(text: str) -> str:
    if text == "go":
        raise ValueError("'go' can not be built here, write a Dockerfile and use runtime: dockerfile")
    if text not in _RUNTIMES:
        raise ValueError(f"expected one of {', '.join(_RUNTIMES)}, got '{text[:60]}'")
    return text


class Worker(Value):
    """One entry of `workers`."""

    name: fields.JobName
    start: fields.Command
    replicas: fields.Replicas = 1
    cpu: fields.Cpu | None = None
    memory: fields.Memory | None = None
    grace: fields.Grace = 15.0


class Cron(Value):
    """One entry of `cron`."""

    name: fields.JobName
    schedule: fields.Schedule
    command: fields.Command
    timezone: fields.TimeZone = "UTC"
    timeout: float = Field(default=600.0, gt=0, le=86400)
    overlap: Literal["forbid", "queue", "allow", "replace"] = "forbid"
    catch_up: Literal["once", "skip"] = "once"
    retries: fields.Retries = 0
    serial: fields.GroupName | None = None
    blocks_deploy: bool = False
    stop: fields.Command | None = None


class Notify(Value):
    """The `notify` key."""

    on_failure: fields.HttpUrl | None = None


class Document(Value):
    """The file as it is written."""

    name: Annotated[str, AfterValidator(_name)] | None = None
    runtime: Annotated[str, AfterValidator(_runtime)] | None = None
    dockerfile: fields.Subfolder | None = None
    root: fields.Folder = ""
    port: fields.Port = 8000
    build: tuple[fields.Command, ...] = ()
    predeploy: tuple[fields.Command, ...] = ()
    start: fields.Command | None = None
    static_dir: fields.Folder | None = None
    spa: bool | None = None
    headers: fields.Headers = Field(default_factory=dict)
    persist: fields.Folders = ()
    cpu: fields.Cpu | None = None
    memory: fields.Memory | None = None
    healthcheck: fields.UrlPath | None = None
    env: dict[EnvName, str] = Field(default_factory=dict)
    secrets: Annotated[tuple[EnvName, ...], AfterValidator(fields.no_twice)] = ()
    subdomain: fields.HostName | None = None
    redis: bool = False
    workers: tuple[Worker, ...] = Field(default=(), max_length=fields.MAX_JOBS)
    cron: tuple[Cron, ...] = Field(default=(), max_length=fields.MAX_JOBS)
    notify: Notify | None = None
    grace: fields.Grace = 15.0
    worker_failure: Literal["undo", "warn"] = "undo"

    @model_validator(mode="after")
    def _unique_names(self) -> Document:
        jobs = [("workers", [one.name for one in self.workers]), ("cron", [one.name for one in self.cron])]
        fields.one_namespace(jobs)
        return self

    @property
    def languages(self) -> tuple[Language, ...]:
        """What builds the app; empty when the files decide."""
        if self.dockerfile:
            return (Language.DOCKERFILE,)
        return _RUNTIMES[self.runtime] if self.runtime else ()


def read_paas(source: Source) -> Manifest:
    """The manifest of a commit that has a `.paas/app.yaml`. Raises ManifestError, SourceError."""
    raw = document.load(FILE, source.read(FILE) or b"")
    app = read(Document, FILE, raw)
    return Manifest(spec=_spec(app), warnings=(*_unused(app), *_overridden(app), *not_acted_on(Dialect.PAAS, raw)))


def _spec(app: Document) -> AppSpec:
    return AppSpec(
        dialect=Dialect.PAAS,
        name=app.name,
        build=_build(app),
        processes=(_web(app), *(_worker(worker) for worker in app.workers)),
        crons=tuple(_cron(job) for job in app.cron),
        env=_env(app),
        secrets=app.secrets,
        persist=app.persist,
        redis=app.redis,
        host=app.subdomain,
        worker_failure=WorkerFailure(app.worker_failure),
        notify_on_failure=app.notify.on_failure if app.notify else None,
    )


def _build(app: Document) -> Build:
    own = app.languages == (Language.DOCKERFILE,)
    folder = None if app.static_dir is None else app.static_dir or "."
    return Build(
        languages=app.languages,
        root=app.root,
        dockerfile=(app.dockerfile or "Dockerfile") if own else None,
        steps=() if own else app.build,
        env=_env(app),
        static=StaticSite(folder=folder, spa=app.spa, headers=app.headers),
    )


def _web(app: Document) -> Process:
    fixed = app.languages in ((Language.DOCKERFILE,), (Language.STATIC,))  # the image brings its own command
    path = app.healthcheck or ("/" if app.languages == (Language.STATIC,) else None)
    return Process(
        name=WEB,
        kind=ProcessKind.WEB,
        command=None if fixed else app.start,
        before=() if fixed else app.predeploy,
        limits=fields.limits(app.cpu, app.memory),
        port=app.port,
        health=Health(path=path),
        grace=app.grace,
    )


def _worker(worker: Worker) -> Process:
    return Process(
        name=worker.name,
        kind=ProcessKind.WORKER,
        command=worker.start,
        replicas=worker.replicas,
        limits=fields.limits(worker.cpu, worker.memory),
        grace=worker.grace,
    )


def _cron(job: Cron) -> CronJob:
    return CronJob(
        name=job.name,
        schedule=job.schedule,
        command=job.command,
        timezone=job.timezone,
        timeout=job.timeout,
        retries=job.retries,
        overlap=Overlap(job.overlap),
        catch_up=CatchUp(job.catch_up),
        serial=job.serial,
        blocks_deploy=job.blocks_deploy,
        stop_command=job.stop,
    )


def _env(app: Document) -> tuple[EnvVar, ...]:
    return tuple(EnvVar(name=name, value=value) for name, value in app.env.items())


def _unused(app: Document) -> list[str]:
    """A warning for each key that is given and means nothing beside the others."""
    given = {key: f"is not used {why}" for key, why in _without_effect(app) if key in app.model_fields_set}
    return lines(FILE, {(key,): sentence for key, sentence in given.items()})


def _without_effect(app: Document) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if app.languages == (Language.DOCKERFILE,):
        found += [(key, "with a Dockerfile, write it there") for key in ("build", "predeploy", "start")]
    if app.languages == (Language.STATIC,):
        found += [(key, "with runtime: static, remove it") for key in ("predeploy", "start")]
    if app.languages and Language.STATIC not in app.languages:
        found += [(key, "without runtime: static, remove it") for key in ("static_dir", "spa", "headers")]
    if app.dockerfile and app.runtime not in (None, "dockerfile"):
        found += [("runtime", "beside 'dockerfile', remove one of the two")]
    return found


def _overridden(app: Document) -> list[str]:
    """A warning for each variable that the platform sets to another value."""
    found: dict[str, str] = {}
    if app.env.get("PORT", str(app.port)) != str(app.port):
        found["PORT"] = f"is overridden, the platform sets PORT to {app.port}, change 'port' instead"
    if app.redis and "REDIS_URL" in app.env:
        found["REDIS_URL"] = "is overridden by 'redis: true', remove one of the two"
    return [f"{FILE}: {path_text(('env', name))}: {sentence}" for name, sentence in found.items()]
