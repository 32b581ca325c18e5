"""`.paas/app.yaml`: what is read, what is refused, what is warned about."""

from __future__ import annotations

import pytest

from runtime.model import (
    GIB,
    MIB,
    AppSpec,
    Build,
    CatchUp,
    CronJob,
    Dialect,
    EnvVar,
    Health,
    Language,
    Limits,
    Manifest,
    Overlap,
    Process,
    ProcessKind,
    StaticSite,
    WorkerFailure,
)
from tests.unit.manifest.conftest import PAAS, read, refusal

WEB = Process(name="web", kind=ProcessKind.WEB, port=8000, health=Health())


def worker(name: str, command: str, replicas: int = 1) -> Process:
    return Process(name=name, kind=ProcessKind.WORKER, command=command, replicas=replicas)


SEED_WORKERS = """
redis: true
workers:
  - name: events
    start: python -m app.worker
    replicas: 1
  - name: emails
    start: python -m app.queue.email_sender
    replicas: 2
"""
SEED_CRON = """
cron:
  - name: nightly
    schedule: "0 2 * * *"
    command: python -m app.jobs.nightly
  - name: hourly_sync
    schedule: "0 * * * *"
    command: python -m app.tasks.sync_upstream
"""
SEED_TOGETHER = """
redis: true
workers:
  - name: indexer
    start: python -m app.search.reindex_worker
    replicas: 1
cron:
  - name: stale_cleanup
    schedule: "0 3 * * *"
    command: python -m app.jobs.delete_old_postings
"""
EVERYTHING = """
name: My_Shop
runtime: python+node
root: ./backend/
port: 9000
build: [npm ci, npm run build]
predeploy: [python manage.py migrate]
start: gunicorn shop
persist: [uploads/, var/data]
cpu: "0.5"
memory: 1.5G
healthcheck: /health?full=1
env: {A: x, B: "1"}
secrets: [KEY]
subdomain: Shop.Example.com
redis: true
workers:
  - {name: jobs, start: python -m jobs, replicas: 3, cpu: 2, memory: 256M, grace: 120}
cron:
  - {name: tidy, schedule: "@daily", command: tidy, timezone: Europe/Zurich, timeout: 60, overlap: queue,
     catch_up: skip, retries: 2, serial: db, blocks_deploy: true, stop: pkill tidy}
notify: {on_failure: "https://example.com/hook"}
grace: 0.5
worker_failure: warn
"""
ENV = (EnvVar(name="A", value="x"), EnvVar(name="B", value="1"))
EVERYTHING_SPEC = AppSpec(
    dialect=Dialect.PAAS,
    name="My_Shop",
    build=Build(languages=(Language.PYTHON, Language.NODE), root="backend", steps=("npm ci", "npm run build"), env=ENV),
    processes=(
        Process(
            name="web",
            kind=ProcessKind.WEB,
            command="gunicorn shop",
            before=("python manage.py migrate",),
            limits=Limits(cpu=0.5, memory=GIB + 512 * MIB),
            port=9000,
            health=Health(path="/health?full=1"),
            grace=0.5,
        ),
        Process(
            name="jobs",
            kind=ProcessKind.WORKER,
            command="python -m jobs",
            replicas=3,
            limits=Limits(cpu=2.0, memory=256 * MIB),
            grace=120.0,
        ),
    ),
    crons=(
        CronJob(
            name="tidy",
            schedule="0 0 * * *",
            command="tidy",
            timezone="Europe/Zurich",
            timeout=60.0,
            retries=2,
            overlap=Overlap.QUEUE,
            catch_up=CatchUp.SKIP,
            serial="db",
            blocks_deploy=True,
            stop_command="pkill tidy",
        ),
    ),
    env=ENV,
    secrets=("KEY",),
    persist=("uploads", "var/data"),
    redis=True,
    host="shop.example.com",
    worker_failure=WorkerFailure.WARN,
    notify_on_failure="https://example.com/hook",
)


@pytest.mark.parametrize(
    ("text", "spec", "warnings"),
    [
        (
            SEED_WORKERS,
            AppSpec(
                dialect=Dialect.PAAS,
                processes=(
                    WEB,
                    worker("events", "python -m app.worker"),
                    worker("emails", "python -m app.queue.email_sender", replicas=2),
                ),
                redis=True,
            ),
            (),
        ),
        (
            SEED_CRON,
            AppSpec(
                dialect=Dialect.PAAS,
                processes=(WEB,),
                crons=(
                    CronJob(name="nightly", schedule="0 2 * * *", command="python -m app.jobs.nightly"),
                    CronJob(name="hourly_sync", schedule="0 * * * *", command="python -m app.tasks.sync_upstream"),
                ),
            ),
            (),
        ),
        (
            SEED_TOGETHER,
            AppSpec(
                dialect=Dialect.PAAS,
                processes=(WEB, worker("indexer", "python -m app.search.reindex_worker")),
                crons=(
                    CronJob(
                        name="stale_cleanup", schedule="0 3 * * *", command="python -m app.jobs.delete_old_postings"
                    ),
                ),
                redis=True,
            ),
            (),
        ),
        ("{}", AppSpec(dialect=Dialect.PAAS, processes=(WEB,)), ()),
        (EVERYTHING, EVERYTHING_SPEC, ()),
    ],
)
def test_whole_file(text: str, spec: AppSpec, warnings: tuple[str, ...]) -> None:
    assert read({PAAS: text}) == Manifest(spec=spec, warnings=warnings)


def test_worker_and_cron_defaults_are_the_dialects() -> None:
    spec = read({PAAS: SEED_TOGETHER + "cpu: 4\nmemory: 4G\ngrace: 99"}).spec
    assert (spec.workers[0].limits, spec.workers[0].grace) == (Limits(), 15.0)
    cron = spec.crons[0]
    assert (cron.timezone, cron.timeout, cron.overlap, cron.catch_up) == ("UTC", 600.0, Overlap.FORBID, CatchUp.ONCE)
    assert (spec.worker_failure, spec.port_env) == (WorkerFailure.UNDO, True)


@pytest.mark.parametrize(
    ("text", "languages", "dockerfile"),
    [
        ("runtime: python", (Language.PYTHON,), None),
        ("runtime: node", (Language.NODE,), None),
        ("runtime: python+node", (Language.PYTHON, Language.NODE), None),
        ("runtime: static", (Language.STATIC,), None),
        ("runtime: dockerfile", (Language.DOCKERFILE,), "Dockerfile"),
        ("dockerfile: deploy/web.Dockerfile", (Language.DOCKERFILE,), "deploy/web.Dockerfile"),
        ("port: 8000", (), None),
    ],
)
def test_runtime(text: str, languages: tuple[Language, ...], dockerfile: str | None) -> None:
    build = read({PAAS: text}).spec.build
    assert (build.languages, build.dockerfile) == (languages, dockerfile)


@pytest.mark.parametrize(
    ("text", "site"),
    [
        (
            "runtime: static\nstatic_dir: web/dist/\nspa: false",
            StaticSite(folder="web/dist", spa=False),
        ),
        ("runtime: static\nstatic_dir: .", StaticSite(folder=".")),
        (
            "runtime: static\nheaders: {X-A: b, /assets/*: {Cache-Control: no-store}, '/*': {X-C: d}}",
            StaticSite(headers={"/assets/*": {"Cache-Control": "no-store"}, "/*": {"X-A": "b", "X-C": "d"}}),
        ),
    ],
)
def test_static_site(text: str, site: StaticSite) -> None:
    spec = read({PAAS: text}).spec
    assert spec.build.static == site
    assert spec.web is not None
    assert spec.web.health == Health(path="/")


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        (
            "runtime: dockerfile\nbuild: [x]\npredeploy: [y]\nstart: z",
            [
                "build: is not used with a Dockerfile, write it there",
                "predeploy: is not used with a Dockerfile, write it there",
                "start: is not used with a Dockerfile, write it there",
            ],
        ),
        ("runtime: static\nstart: z", ["start: is not used with runtime: static, remove it"]),
        ("runtime: python\nspa: true", ["spa: is not used without runtime: static, remove it"]),
        ("spa: true", []),
        (
            "runtime: node\ndockerfile: D",
            ["runtime: is not used beside 'dockerfile', remove one of the two"],
        ),
        (
            "env: {PORT: '3000'}",
            ["env.PORT: is overridden, the platform sets PORT to 8000, change 'port' instead"],
        ),
        ("env: {PORT: '3000'}\nport: 3000", []),
        (
            "redis: true\nenv: {REDIS_URL: x}",
            ["env.REDIS_URL: is overridden by 'redis: true', remove one of the two"],
        ),
        ("notify: {}", []),
    ],
)
def test_keys_without_effect_are_named(text: str, warnings: list[str]) -> None:
    manifest = read({PAAS: text})
    assert list(manifest.warnings) == [f"{PAAS}: {warning}" for warning in warnings]


def test_unused_commands_do_not_reach_the_spec() -> None:
    spec = read({PAAS: "runtime: dockerfile\nbuild: [x]\npredeploy: [y]\nstart: z"}).spec
    assert spec.web == WEB
    assert spec.build.steps == ()


ONE = "workers: [{name: a, start: b, %s}]"
CRON = "cron: [{name: a, command: b, %s}]"
FOLDER = "must be a path inside of the repository, without a leading '/' and without '..'"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("worker: []", "worker: unknown key, did you mean 'workers'?"),
        ("Workers: []", "Workers: unknown key, did you mean 'workers'?"),
        ("xyzzy: 1", "xyzzy: unknown key, remove it or see docs/manifest for the known ones"),
        (ONE % "replica: 2", "workers[0].replica: unknown key, did you mean 'replicas'?"),
        (
            ONE % "zzz: 2",
            "workers[0].zzz: unknown key, known here: name, start, replicas, cpu, memory, grace",
        ),
        ("notify: {on_fail: x}", "notify.on_fail: unknown key, did you mean 'on_failure'?"),
        ('"e\\e[31m\\nx": 1', "e\\x1b[31m\\nx: unknown key, remove it or see docs/manifest for the known ones"),
        ("workers:", "workers: is empty, give it a value or remove the key"),
        ("start:", "start: is empty, give it a value or remove the key"),
        ("workers: {a: b}", "workers: expected a list, got a mapping"),
        ("workers: [a]", "workers[0]: expected a mapping, got a text 'a'"),
        ("workers: [{name: a}]", "workers[0].start: this key is missing, add it"),
        (ONE % "replicas: two", "workers[0].replicas: expected a whole number, got a text 'two'"),
        (ONE % "replicas: '2'", "workers[0].replicas: expected a whole number, got a text '2', remove the quotes"),
        (ONE % "replicas: 1.5", "workers[0].replicas: expected a whole number, got the number 1.5"),
        (ONE % "replicas: true", "workers[0].replicas: expected a whole number, got true"),
        (ONE % "replicas: 0", "workers[0].replicas: must be at least 1, got the number 0"),
        (ONE % "replicas: 101", "workers[0].replicas: must be at most 100, got the number 101"),
        (ONE % "grace: 1801", "workers[0].grace: must be at most 1800, got the number 1801"),
        ("redis: 'false'", "redis: expected true or false, got a text 'false', remove the quotes"),
        ("redis: yes", "redis: expected true or false, got a text 'yes'"),
        ("redis: 1", "redis: expected true or false, got the number 1"),
        ("env: {A: 5}", "env.A: expected a text, got the number 5, put it in quotes"),
        ("env: {A: true}", "env.A: expected a text, got true, put it in quotes"),
        ("env: [A]", "env: expected a mapping, got a list"),
        ("env: {A: [b]}", "env.A: expected a text, got a list"),
        ("env: {'[key]': 5}", "env.[key]: '[key]' is not a variable name: use letters, digits and underscores"),
        ("env: {1A: x}", "env.1A: '1A' is not a variable name: use letters, digits and underscores"),
        (
            "env: {LOCKSTEP_APP: x}",
            "env.LOCKSTEP_APP: 'LOCKSTEP_APP' is not free: names that begin with LOCKSTEP_ are set by the platform",
        ),
        ("secrets: [A, A]", "secrets: 'A' is there twice, keep one"),
        (
            "runtime: go",
            "runtime: 'go' can not be built here, write a Dockerfile and use runtime: dockerfile",
        ),
        (
            "runtime: ruby",
            "runtime: expected one of python, node, python+node, static, dockerfile, got 'ruby'",
        ),
        ("port: 0", "port: must be at least 1, got the number 0"),
        ("port: 08000", "port: expected a whole number, got a text '08000'"),
        ("root: ../x", f"root: {FOLDER}"),
        ("root: /x", f"root: {FOLDER}"),
        ("persist: [a/../../b]", f"persist[0]: {FOLDER}"),
        ("persist: [/data]", f"persist[0]: {FOLDER}"),
        ("persist: [.]", "persist[0]: must name something inside of the repository, not its root"),
        ("persist: [a, a/b]", "persist: 'a/b' is kept by 'a' already, keep one"),
        ("persist: [a, ./a/]", "persist: 'a' is kept by 'a' already, keep one"),
        ("persist: [a/b, ab, a]", "persist: 'a/b' is kept by 'a' already, keep one"),
        ("persist: ['a:b']", "persist[0]: must be a path of letters, digits, '.', '_', '-', '@', '+' and '/'"),
        ("cpu: none", "cpu: must be a number of cores from 0.01 to 256, such as 0.5"),
        ("cpu: -1", "cpu: must be a number of cores from 0.01 to 256, such as 0.5"),
        ("cpu: 0", "cpu: must be a number of cores from 0.01 to 256, such as 0.5"),
        ("memory: 256", "memory: must be a size with its unit from 16M to 1024G, such as '256M' or '1G'"),
        ("memory: 1M", "memory: must be a size with its unit from 16M to 1024G, such as '256M' or '1G'"),
        ("healthcheck: health", "healthcheck: must be a path such as '/health', got 'health'"),
        ("subdomain: shop", "subdomain: must be a full host name such as 'shop.example.com', got 'shop'"),
        ("subdomain: a..b", "subdomain: must be a full host name such as 'shop.example.com', got 'a..b'"),
        (
            "notify: {on_failure: 'ftp://x'}",
            "notify.on_failure: must be a URL that begins with http:// or https://",
        ),
        (
            "notify: {on_failure: 'http://['}",
            "notify.on_failure: must be a URL that begins with http:// or https://",
        ),
        ("start: ' '", "start: is empty, give it a command or remove the key"),
        ("build: make", "build: expected a list, got a text 'make'"),
        ("name: a b", "name: must be 1 to 63 letters, digits, '-' and '_'"),
        ("worker_failure: ignore", "worker_failure: expected 'undo' or 'warn', got a text 'ignore'"),
        ("headers: {X-A: 5}", "headers./*.X-A: expected a text, got the number 5, put it in quotes"),
        ("headers: {x: {A: b}}", "headers: must be a path such as '/health', got 'x'"),
        ('headers: {A: "b\\nc"}', "headers: the value of 'A' must be one line of printable text"),
        (
            "workers: [{name: web, start: x}]",
            "workers[0].name: 'web' is the name of the app's web process, choose another one",
        ),
        (
            "workers: [{name: A, start: x}]",
            "workers[0].name: 'A' is not a process name: use 1 to 40 lowercase letters, digits, hyphens and "
            "underscores",
        ),
        (
            "workers: [{name: a, start: x}, {name: a, start: x}]",
            "workers[1]: the name 'a' is taken by workers[0], choose another one",
        ),
        (
            "workers: [{name: a, start: x}]\ncron: [{name: a, schedule: '@daily', command: x}]",
            "cron[0]: the name 'a' is taken by workers[0], choose another one",
        ),
        (CRON % "schedule: '@daily', timeout: 0", "cron[0].timeout: must be more than 0, got the number 0"),
        (
            CRON % "schedule: '@daily', overlap: never",
            "cron[0].overlap: expected 'forbid', 'queue', 'allow' or 'replace', got a text 'never'",
        ),
        (
            CRON % "schedule: '@daily', timezone: Europe/Zuerich",
            "cron[0].timezone: 'Europe/Zuerich' is not a time zone, use a name such as 'Europe/Zurich'",
        ),
    ],
)
def test_refused(text: str, problem: str) -> None:
    assert refusal({PAAS: text}) == f"{PAAS}: {problem}"


@pytest.mark.parametrize(
    ("schedule", "fields"),
    [
        ("*/5 0-6 1,15 jan-mar MON-FRI", "*/5 0-6 1,15 jan-mar MON-FRI"),
        ("  0   2 * * 7 ", "0 2 * * 7"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("@Hourly", "0 * * * *"),
        ("@yearly", "0 0 1 1 *"),
    ],
)
def test_schedule(schedule: str, fields: str) -> None:
    assert read({PAAS: CRON % f"schedule: '{schedule}'"}).spec.crons[0].schedule == fields


@pytest.mark.parametrize(
    "schedule",
    ["", "* * * *", "* * * * * *", "@reboot", "60 * * * *", "0 0 30 2 *", "0 0 31 4,6 *", "H * * * *", "R R * * *",
     "*/0 * * * *", "a b c d e", "- - - - -", "0 0 0 * *", "0 0 * 13 *", "0 0 * * 8", "1;2 * * * *", "* " * 5000],
)  # fmt: skip
def test_schedule_without_ticks_is_refused(schedule: str) -> None:
    assert refusal({PAAS: CRON % f"schedule: '{schedule}'"}).startswith(f"{PAAS}: cron[0].schedule: ")


def test_all_problems_are_in_one_message() -> None:
    text = "worker: []\nport: '80'\nstart:\nworkers: [{name: a, replicas: x}]"
    assert refusal({PAAS: text}).splitlines() == [
        ".paas/app.yaml: start: is empty, give it a value or remove the key",
        ".paas/app.yaml: port: expected a whole number, got a text '80', remove the quotes",
        ".paas/app.yaml: workers[0].start: this key is missing, add it",
        ".paas/app.yaml: workers[0].replicas: expected a whole number, got a text 'x'",
        ".paas/app.yaml: worker: unknown key, did you mean 'workers'?",
    ]


def test_a_message_is_bounded() -> None:
    message = refusal({PAAS: "\n".join(f"k{'x' * 500}{number}: 1" for number in range(100))}).splitlines()
    assert len(message) == 11
    assert message[-1] == ".paas/app.yaml: and 90 more"
    assert max(map(len, message)) < 400


def test_number_of_jobs_is_bounded() -> None:
    jobs = "".join(f"- {{name: w{number}, start: x}}\n" for number in range(51))
    assert refusal({PAAS: f"workers:\n{jobs}"}) == f"{PAAS}: workers: has 51 entries, at most 50 are allowed"
