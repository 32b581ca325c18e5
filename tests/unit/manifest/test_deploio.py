"""`.deploio.yaml`: what is read, what is refused, what is warned about."""

from __future__ import annotations

import pytest

from runtime.model import (
    MIB,
    AppSpec,
    Build,
    CatchUp,
    CronJob,
    Dialect,
    EnvVar,
    Health,
    Hook,
    Limits,
    Manifest,
    Overlap,
    Process,
    ProcessKind,
    Shell,
    WorkerFailure,
)
from tests.unit.manifest.conftest import DEPLOIO, PROCFILE, read, refusal

MICRO = Limits(cpu=0.125, memory=256 * MIB, soft=True, size="micro")
MINI = Limits(cpu=0.25, memory=512 * MIB, soft=True, size="mini")
WEB = Process(name="web", kind=ProcessKind.WEB, shell=Shell.BASH, limits=MICRO, port=8080, health=Health(), grace=30.0)

SEED = """
workerJobs:
  - name: sidekiq
    command: "bundle exec sidekiq"
    size: mini
"""
SEED_SPEC = AppSpec(
    dialect=Dialect.DEPLOIO,
    processes=(
        WEB,
        Process(
            name="sidekiq",
            kind=ProcessKind.WORKER,
            command="bundle exec sidekiq",
            shell=Shell.BASH,
            limits=MINI,
            grace=30.0,
        ),
    ),
    worker_failure=WorkerFailure.WARN,
)
EVERYTHING = """
size: mini
env:
  - {name: A, value: x}
  - {name: B, value: "1", sensitive: true}
buildEnv: [{name: C, value: y}]
port: 3000
replicas: 2
enableBasicAuth: true
healthProbe: {httpGet: {path: /up}, periodSeconds: 5}
deployJob: {name: migrate, command: rake db:migrate, retries: 3, timeout: 1m30s}
workerJobs: [{name: jobs, command: work}]
scheduledJobs: [{name: tidy, command: tidy, schedule: "* * * * *", size: mini, retries: 1, timeout: 10m}]
"""
EVERYTHING_SPEC = AppSpec(
    dialect=Dialect.DEPLOIO,
    build=Build(env=(EnvVar(name="C", value="y"),)),
    processes=(
        Process(
            name="web",
            kind=ProcessKind.WEB,
            command="rails server",
            shell=Shell.BASH,
            replicas=2,
            limits=MINI,
            port=3000,
            health=Health(path="/up", period=5.0),
            grace=30.0,
        ),
        Process(
            name="jobs", kind=ProcessKind.WORKER, command="work", shell=Shell.BASH, limits=MICRO, grace=30.0
        ),
    ),
    crons=(
        CronJob(
            name="tidy",
            schedule="* * * * *",
            command="tidy",
            shell=Shell.BASH,
            limits=MINI,
            timeout=600.0,
            grace=30.0,
            retries=1,
            overlap=Overlap.FORBID,
            catch_up=CatchUp.ONCE,
        ),
    ),
    hooks=(
        Hook(name="migrate", command="rake db:migrate", shell=Shell.BASH, limits=MINI, timeout=90.0, retries=3),
    ),
    env=(EnvVar(name="A", value="x"), EnvVar(name="B", value="1", sensitive=True)),
    worker_failure=WorkerFailure.WARN,
)  # fmt: skip
EVERYTHING_WARNINGS = (
    "Procfile: release, worker: only 'web' is used beside .deploio.yaml, write the others as workerJobs or deployJob",
    ".deploio.yaml: enableBasicAuth: is kept, but no password protects the app yet, protect it in the app itself",
    ".deploio.yaml: healthProbe.periodSeconds: is kept, but web is asked while it starts alone",
)


@pytest.mark.parametrize(
    ("text", "procfile", "spec", "warnings"),
    [
        (SEED, None, SEED_SPEC, ()),
        ("{}", None, SEED_SPEC.model_copy(update={"processes": (WEB,)}), ()),
        ("size:\nenv:\nworkerJobs: ~\nport:", None, SEED_SPEC.model_copy(update={"processes": (WEB,)}), ()),
        (EVERYTHING, "web: rails server\nrelease: x\nworker: y", EVERYTHING_SPEC, EVERYTHING_WARNINGS),
    ],
)
def test_whole_file(text: str, procfile: str | None, spec: AppSpec, warnings: tuple[str, ...]) -> None:
    files = {DEPLOIO: text} | ({PROCFILE: procfile} if procfile else {})
    assert read(files) == Manifest(spec=spec, warnings=warnings)


@pytest.mark.parametrize(
    ("size", "cores", "mebibytes"),
    [("micro", 0.125, 256), ("mini", 0.25, 512), ("standard-1", 0.5, 1024), ("standard-2", 0.75, 2048),
     ("standard-4", 1.5, 4096)],
)  # fmt: skip
def test_sizes(size: str, cores: float, mebibytes: int) -> None:
    web = read({DEPLOIO: f"size: {size}"}).spec.web
    assert web is not None
    assert web.limits == Limits(cpu=cores, memory=mebibytes * MIB, soft=True, size=size)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("hosts: [a.example.com]", "hosts: unknown key, remove it or see {all} (ignored)"),
        ("workerJob: []", "workerJob: unknown key, did you mean 'workerJobs'? (ignored)"),
        ("worker_jobs: []", "worker_jobs: unknown key, did you mean 'workerJobs'? (ignored)"),
        (
            "workerJobs: [{name: a, command: b, replicas: 2}]",
            "workerJobs[0].replicas: unknown key, known here: name, command, size (ignored)",
        ),
        (
            "healthProbe: {httpGet: {path: /, port: 80}}",
            "healthProbe.httpGet.port: unknown key, known here: path (ignored)",
        ),
    ],
)
def test_foreign_key_is_a_warning(text: str, warning: str) -> None:
    keys = "size, env, buildEnv, port, replicas, enableBasicAuth, healthProbe, deployJob, workerJobs, scheduledJobs"
    manifest = read({DEPLOIO: text})
    expected = warning.replace("remove it or see {all}", f"known here: {keys}")
    assert manifest.warnings == (f"{DEPLOIO}: {expected}",)


def test_foreign_keys_of_an_aliased_entry_are_dropped_only_where_foreign() -> None:
    text = "deployJob: &j {name: a, command: b, retries: 2}\nworkerJobs: [{<<: *j}]"
    manifest = read({DEPLOIO: text})
    assert manifest.spec.hooks[0].retries == 2
    assert len(manifest.warnings) == 1


DURATION = "must be a time from '1m' to '30m', such as '5m' or '90s'"
JOB = "deployJob: {name: a, command: b, %s}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("size: huge", "size: expected 'micro', 'mini', 'standard-1', 'standard-2' or 'standard-4', got a text 'huge'"),
        ("port: '80'", "port: expected a whole number, got a text '80', remove the quotes"),
        ("env: {A: b}", "env: expected a list, got a mapping"),
        ("env: [{name: A, value: 5}]", "env[0].value: expected a text, got the number 5, put it in quotes"),
        ("env: [{name: A, value: ~}]", "env[0].value: this key is missing, add it"),
        ("env: [{name: A, value: a}, {name: A, value: b}]", "env: 'A' is there twice, keep one"),
        (JOB % "timeout: 59s", f"deployJob.timeout: {DURATION}"),
        (JOB % "timeout: 31m", f"deployJob.timeout: {DURATION}"),
        (JOB % "timeout: 300", f"deployJob.timeout: {DURATION}"),
        (JOB % "timeout: 5 m", f"deployJob.timeout: {DURATION}"),
        (JOB % "retries: 6", "deployJob.retries: must be at most 5, got the number 6"),
        ("deployJob: {name: a}", "deployJob.command: this key is missing, add it"),
        ("healthProbe: {periodSeconds: 0}", "healthProbe.periodSeconds: must be at least 1, got the number 0"),
        (
            "workerJobs: [{name: web, command: x}]",
            "workerJobs[0].name: 'web' is the name of the app's web process, choose another one",
        ),
        (
            "workerJobs: [{name: a, command: x}]\nscheduledJobs: [{name: a, command: x, schedule: '@daily'}]",
            "scheduledJobs[0]: the name 'a' is taken by workerJobs[0], choose another one",
        ),
        ("workerJobs: [~]", "workerJobs[0]: expected a mapping, got nothing"),
        (
            "workerJobs: [{nam: a, command: x}]",
            "workerJobs[0].name: this key is missing, add it\n"
            ".deploio.yaml: workerJobs[0].nam: unknown key, did you mean 'name'?",
        ),
    ],
)  # fmt: skip
def test_refused(text: str, problem: str) -> None:
    assert refusal({DEPLOIO: text}) == f"{DEPLOIO}: {problem}"


def test_wrong_procfile_is_refused_beside_it() -> None:
    assert refusal({DEPLOIO: "{}", PROCFILE: "nonsense"}) == (
        "Procfile: line 1: expected 'type: command', got 'nonsense'"
    )


def test_another_port_variable_is_named() -> None:
    assert read({DEPLOIO: "env: [{name: PORT, value: '1'}]"}).warnings == (
        ".deploio.yaml: env[0]: PORT is overridden, the platform sets it to 8080, change 'port' instead",
    )
