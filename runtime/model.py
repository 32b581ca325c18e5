"""The domain values: frozen, validated on creation, compared by value, stored as JSON.

Everything that a release is made of stands here, and nothing here does anything. Times are aware
UTC datetimes, durations are seconds, memory is bytes, CPU is cores.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from runtime.names import Handle

MIB: Final = 1024 * 1024
GIB: Final = 1024 * MIB

WEB: Final = "web"
APP_NAME: Final = re.compile(r"[a-z](?:[a-z0-9]|-(?=[a-z0-9])){0,39}")
PROCESS_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?")
ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
RESERVED_ENV: Final = "LOCKSTEP_"  # names that begin so are ours to set


def app_name(text: str) -> str:
    """`text` if it is an app's name: safe as a path, a DNS label and an engine name. Raises ValueError."""
    if not APP_NAME.fullmatch(text):
        raise ValueError(
            f"'{text[:60]}' is not an app name: use 1 to 40 lowercase letters, digits and single hyphens, "
            "beginning with a letter"
        )
    return text


def process_name(text: str) -> str:
    """`text` if it can name a process or a cron job. Raises ValueError."""
    if not PROCESS_NAME.fullmatch(text):
        raise ValueError(
            f"'{text[:60]}' is not a process name: use 1 to 40 lowercase letters, digits, hyphens and underscores"
        )
    return text


def env_name(text: str) -> str:
    """`text` if it can name an environment variable that an app may set. Raises ValueError."""
    if not ENV_NAME.fullmatch(text):
        raise ValueError(f"'{text[:60]}' is not a variable name: use letters, digits and underscores")
    if text.startswith(RESERVED_ENV):
        raise ValueError(f"'{text[:60]}' is not free: names that begin with {RESERVED_ENV} are set by the platform")
    return text


AppName = Annotated[str, AfterValidator(app_name)]
ProcessName = Annotated[str, AfterValidator(process_name)]
EnvName = Annotated[str, AfterValidator(env_name)]


class Value(BaseModel):
    """Base of all domain values: frozen, no unknown fields, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Secret:
    """A text that must not be shown: it prints as ***, and `reveal()` is called only where it is sent."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


# ---- what a commit asks for ------------------------------------------------------------------------------------


class Dialect(StrEnum):
    """Which kind of manifest a spec was read from; the value is the file's name."""

    PAAS = ".paas/app.yaml"
    DEPLOIO = ".deploio.yaml"
    PROCFILE = "Procfile"
    NONE = "no manifest"


class Language(StrEnum):
    """What a buildpack can build; each is one file in builder/buildpacks."""

    PYTHON = "python"
    NODE = "node"
    STATIC = "static"
    DOCKERFILE = "dockerfile"


class Shell(StrEnum):
    """How a command line is run; the dialects have their own words for the same shell."""

    SH = "sh"  # bash -c where the image has it, else sh -c
    BASH = "bash"  # the same
    EXEC = "exec"  # split into words, no shell


class WorkerFailure(StrEnum):
    """What a worker that dies in its settle window does to the deploy."""

    UNDO = "undo"
    WARN = "warn"


class Overlap(StrEnum):
    """What a cron tick does while the job's previous run is still going."""

    FORBID = "forbid"
    QUEUE = "queue"
    ALLOW = "allow"
    REPLACE = "replace"


class CatchUp(StrEnum):
    """What becomes of slots that were missed: one run for all of them, or none."""

    ONCE = "once"
    SKIP = "skip"


class EnvVar(Value):
    """One variable as the manifest gives it."""

    name: EnvName
    value: str
    sensitive: bool = False  # masked wherever it would be shown


class Limits(Value):
    """What one container may use."""

    cpu: float = Field(default=1.0, gt=0, le=256)  # cores
    memory: int = Field(default=512 * MIB, ge=16 * MIB)  # bytes; over it the kernel kills the process
    soft: bool = False  # cpu is a share that is guaranteed, not a ceiling (Deploio's sizes)
    size: str | None = None  # the dialect's own word, e.g. "standard-1"


class Health(Value):
    """How the web process is asked whether it is up; without a path any HTTP answer will do."""

    path: str | None = Field(default=None, pattern=r"^/[!-~]*$")
    period: float = Field(default=10.0, gt=0)  # seconds between questions once it is live
    deadline: float | None = Field(default=None, gt=0)  # seconds from start until it must be healthy; None: a setting


class StaticSite(Value):
    """A folder that the platform's own web server serves."""

    folder: str | None = None  # None: the first of dist, build, public, out, _site, else the root
    spa: bool | None = None  # unknown paths answer index.html; None: unless there is a 404.html
    headers: dict[str, dict[str, str]] = Field(default_factory=dict)  # path pattern -> header -> value


class Build(Value):
    """How the image of the commit is made."""

    languages: tuple[Language, ...] = ()  # empty: detected from the files
    root: str = ""  # folder of the tree that is the build context, "" for the whole tree
    dockerfile: str | None = None  # path inside root of the app's own Dockerfile
    steps: tuple[str, ...] = ()  # shell lines run after the source is in place, one layer each
    env: tuple[EnvVar, ...] = ()  # variables seen by the build
    static: StaticSite = StaticSite()


class ProcessKind(StrEnum):
    WEB = "web"
    WORKER = "worker"


class Process(Value):
    """One row of the process table: a long-running command, kept at its number of replicas."""

    name: ProcessName
    kind: ProcessKind
    command: str | None = None  # None: the image's own command (buildpack default, Dockerfile CMD)
    shell: Shell = Shell.SH
    before: tuple[str, ...] = ()  # commands run in the same container in front of `command` on every start
    replicas: int = Field(default=1, ge=0, le=100)
    limits: Limits = Limits()
    port: int | None = Field(default=None, ge=1, le=65535)  # where web listens; None for workers
    health: Health | None = None  # web only
    grace: float = Field(default=15.0, ge=0, le=1800)  # seconds from SIGTERM to SIGKILL


class CronJob(Value):
    """A command that runs to its end on a schedule, from the live release."""

    name: ProcessName
    schedule: str  # five fields
    command: str
    shell: Shell = Shell.SH
    limits: Limits = Limits()
    timezone: str = "UTC"
    timeout: float = Field(default=600.0, gt=0)  # seconds, then SIGTERM, grace, SIGKILL
    grace: float = Field(default=15.0, ge=0)
    retries: int = Field(default=0, ge=0, le=5)
    overlap: Overlap = Overlap.FORBID
    catch_up: CatchUp = CatchUp.ONCE
    serial: ProcessName | None = None  # of the app's jobs with the same word here one runs at a time, the others wait
    blocks_deploy: bool = False  # a deploy of the app waits for the end of a run
    stop_command: str | None = None  # run in the container instead of SIGTERM when a run is to be stopped


class Hook(Value):
    """A command that must succeed in a container of the new image before the release goes on."""

    name: ProcessName
    command: str
    shell: Shell = Shell.SH
    limits: Limits = Limits()
    timeout: float = Field(default=300.0, gt=0)
    retries: int = Field(default=0, ge=0, le=5)


class AppSpec(Value):
    """All that a commit's manifest asks for, whatever its dialect."""

    dialect: Dialect
    name: str | None = None  # the manifest's own name for the app, shown only
    build: Build = Build()
    processes: tuple[Process, ...] = ()
    crons: tuple[CronJob, ...] = ()
    hooks: tuple[Hook, ...] = ()
    env: tuple[EnvVar, ...] = ()
    secrets: tuple[EnvName, ...] = ()  # names whose values are set with config:set
    persist: tuple[str, ...] = ()  # folders below /app that outlive a release, shared by all processes
    redis: bool = False
    port_env: bool = True  # the process finds its port in PORT
    host: str | None = None  # full host name the manifest asks for
    worker_failure: WorkerFailure = WorkerFailure.UNDO
    notify_on_failure: str | None = None

    @property
    def web(self) -> Process | None:
        return next((process for process in self.processes if process.kind is ProcessKind.WEB), None)

    @property
    def workers(self) -> tuple[Process, ...]:
        return tuple(process for process in self.processes if process.kind is ProcessKind.WORKER)


class Manifest(Value):
    """What reading the manifest gave: the spec, and what the pusher must be told."""

    spec: AppSpec
    warnings: tuple[str, ...] = ()


# ---- what was made of it ---------------------------------------------------------------------------------------


class Image(Value):
    """A built image, addressed by its content."""

    id: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")
    languages: tuple[str, ...] = ()  # what was detected or asked, with versions: "python 3.11"
    version_wanted: str | None = None
    version_used: str | None = None
    command: tuple[str, ...] | None = None  # the image's own command, where a buildpack knows one
    root: str = ""


class Release(Value):
    """An immutable number: image + process table + config. Everything that runs resolves through one."""

    app: AppName
    own_handle: str | None = None  # the app's handle, where that is not its name
    made_as: AppName | None = None  # the app's name when the release was made, where it has another by now
    number: int = Field(ge=1)
    commit: str  # 40 hex digits
    image: Image
    spec: AppSpec
    asked: AppSpec | None = None  # what the manifest says, where the settings of the app change it in `spec`
    config: dict[str, str]  # config:set values at the moment the release was made
    created_at: datetime
    created_by: str
    description: str  # "push of 1a2b3c4", "config:set KEY", "rollback to v3"

    @property
    def label(self) -> str:
        return f"v{self.number}"

    @property
    def handle(self) -> Handle:
        """The app's."""
        return Handle(self.own_handle or self.app)


class DeployState(StrEnum):
    """Where a deploy stands; `runtime.release` has the one function that changes it."""

    QUEUED = "queued"  # waits for the app's lock
    BUILDING = "build"
    PREPARE = "prepare"
    PREDEPLOY = "predeploy"
    STAGE = "stage"
    QUIESCE = "quiesce"
    COMMIT = "commit"  # the row is written in this state; the next one is past the point of no return
    SWITCH = "switch"
    START = "start"
    RETIRE = "retire"
    UNDOING = "undoing"
    LIVE = "live"  # ended: the new release is live
    FAILED = "failed"  # ended: the old release is as it was
    CANCELLED = "cancelled"  # ended on the client's wish, the old release is as it was

    @property
    def ended(self) -> bool:
        return self in (DeployState.LIVE, DeployState.FAILED, DeployState.CANCELLED)


class Sequel(Value):
    """What is to be so once a deploy is live, and is no part of its release."""

    ref: str | None = None  # of the app's repository, to be at the deploy's commit
    branch: str | None = None  # that deploys from then on
    replicas: dict[str, int | None] = Field(default_factory=dict)  # process -> how many run, None: its manifest's


class Deploy(Value):
    """One attempt to make a release live, and how it went."""

    id: int
    app: AppName
    kind: str  # push, config, rollback, rebuild, restart
    state: DeployState
    who: str
    commit: str | None
    release: int | None  # the release it makes, once it has a number
    previous: int | None  # the release that was live when it began
    started_at: datetime
    ended_at: datetime | None = None
    error: str | None = None
    phases: dict[str, float] = Field(default_factory=dict)  # phase -> seconds
    worker_pause: float | None = None  # seconds during which no worker ran; None: none was stopped, or it is not known
    sequel: Sequel | None = None  # what is still to be done, once it is live

    @property
    def cut_over(self) -> float:
        """Seconds from the end of the old workers to the new route: the commit and the switch."""
        return self.phases.get(DeployState.COMMIT.value, 0.0) + self.phases.get(DeployState.SWITCH.value, 0.0)


class App(Value):
    """An app and the one row that says what runs."""

    name: AppName
    own_handle: str | None = None
    created_at: datetime
    current_release: int | None = None
    branch: str | None = None  # the branch that deploys; None until the first push

    @property
    def handle(self) -> Handle:
        """What its engine objects and its Redis keys are named by; it stays when the app is renamed."""
        return Handle(self.own_handle or self.name)


class RunState(StrEnum):
    """Where a run stands, of a cron job or a one-off one."""

    DUE = "due"  # the row is there, the container not yet
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    INTERRUPTED = "interrupted"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"

    @property
    def open(self) -> bool:
        return self in (RunState.DUE, RunState.RUNNING)


class Trigger(StrEnum):
    SCHEDULE = "schedule"
    MANUAL = "run-now"
    CATCH_UP = "catch-up"
    RETRY = "retry"


class CronRun(Value):
    """One tick of a cron job: unique by (app, job, slot)."""

    id: int
    app: AppName
    job: ProcessName
    slot: datetime
    trigger: Trigger
    state: RunState
    release: int | None
    stands_for: int = 1  # how many missed slots this run covers
    started_at: datetime | None = None
    ended_at: datetime | None = None
    exit_code: int | None = None
    reason: str | None = None  # why it was skipped, interrupted or failed to start
    who: str | None = None
    attempt: int = 1  # 2 and more: the same tick again, after it failed
    stop: str | None = None  # why it is to be stopped, from the moment that is wanted
    retry_at: datetime | None = None  # when it is to be tried again, until it was
    serial: str | None = None  # its job's serial group


class Role(StrEnum):
    ADMIN = "admin"
    DEVELOPER = "developer"
    VIEWER = "viewer"


class Key(Value):
    """A person's public key."""

    name: str
    public: str  # "ssh-ed25519 AAAA…", without comment
    fingerprint: str  # SHA256:…
    role: Role = Role.ADMIN
    apps: tuple[str, ...] = ()  # empty: all apps
    commands: tuple[str, ...] = ()  # empty: all that the role allows
    added_at: datetime
    used_at: datetime | None = None  # to within a few minutes
