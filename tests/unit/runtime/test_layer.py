"""The settings of an app above its manifest: merged value by value, each with its origin."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.errors import LockstepError, ManifestError, UsageError
from runtime.layer import DeployJob, Layer, ScheduledJob, WorkerJob, base_of, merge
from runtime.model import Dialect, EnvVar, Hook, Limits, Process, ProcessKind, Shell, WorkerFailure
from runtime.origins import Known, given, origins
from runtime.sizes import limits_of
from runtime.update import Change, config_after, describe, layer_after
from tests.unit.runtime.samples import cron, release, spec, web, worker

MICRO, MINI = limits_of("micro"), limits_of("mini")
CLOCK = WorkerJob(name="clock", command="python clock.py")
TIDY = ScheduledJob(name="tidy", command="rm -r tmp", schedule="@daily")


def deploio(*processes: Process, **changes: Any) -> Any:
    values: dict[str, Any] = {"dialect": Dialect.DEPLOIO, "worker_failure": WorkerFailure.WARN}
    return spec(web(shell=Shell.BASH, limits=MICRO, grace=30.0), *processes, **{**values, **changes})


def test_no_settings_leave_the_manifest_as_it_is() -> None:
    asked = spec(worker(), web(), crons=(cron(),))
    assert merge(asked, Layer()) is asked


def test_jobs_that_the_manifest_does_not_have_run_as_its_own_would() -> None:
    merged = merge(deploio(), Layer(workers=(CLOCK,), crons=(TIDY,)))
    (clock,) = merged.workers
    assert clock == Process(
        name="clock", kind=ProcessKind.WORKER, command="python clock.py", shell=Shell.BASH, limits=MICRO, grace=30.0
    )
    (tidy,) = merged.crons
    expected = cron("tidy", command="rm -r tmp", schedule="0 0 * * *", shell=Shell.BASH, limits=MICRO)
    assert tidy == expected.model_copy(update={"timeout": 300.0, "grace": 30.0})
    plain = merge(spec(web()), Layer(workers=(CLOCK,))).workers[0]
    assert (plain.limits, plain.shell, plain.grace) == (Limits(), Shell.SH, 15.0)


def test_a_job_of_the_same_name_is_changed_value_by_value() -> None:
    mailer = worker("mailer", shell=Shell.BASH, limits=MICRO)
    merged = merge(deploio(mailer, worker("other")), Layer(workers=(WorkerJob(name="mailer", size="mini"),)))
    assert merged.workers == (mailer.model_copy(update={"limits": MINI}), worker("other"))
    job = cron("tidy", retries=2)
    merged = merge(deploio(crons=(job,)), Layer(crons=(ScheduledJob(name="tidy", schedule="5 4 * * *", retries=0),)))
    assert merged.crons == (job.model_copy(update={"schedule": "5 4 * * *", "retries": 0}),)


def test_size_is_that_of_web_and_of_the_deploy_job() -> None:
    merged = merge(deploio(worker(), hooks=(Hook(name="migrate", command="m", limits=MICRO),)), Layer(size="mini"))
    assert merged.web is not None
    assert (merged.web.limits, merged.hooks[0].limits, merged.workers[0].limits) == (MINI, MINI, Limits())


@pytest.mark.parametrize(
    ("job", "hooks"),
    [
        (DeployJob(enabled=False), ()),
        (DeployJob(enabled=False, command="other"), ()),
        (DeployJob(command="other"), (Hook(name="migrate", command="other", retries=1),)),
        (DeployJob(name="up", retries=3), (Hook(name="up", command="m", retries=3),)),
        (DeployJob(timeout=90.0), (Hook(name="migrate", command="m", retries=1, timeout=90.0),)),
        (DeployJob(enabled=True), (Hook(name="migrate", command="m", retries=1),)),
    ],
)
def test_deploy_job_of_the_manifest_is_changed(job: DeployJob, hooks: tuple[Hook, ...]) -> None:
    asked = spec(web(), hooks=(Hook(name="migrate", command="m", retries=1),))
    assert merge(asked, Layer(deploy_job=job)).hooks == hooks


def test_deploy_job_where_the_manifest_has_none() -> None:
    made = merge(deploio(), Layer(deploy_job=DeployJob(command="m"))).hooks
    assert made == (Hook(name="deploy-job", command="m", shell=Shell.BASH, limits=MICRO),)
    assert merge(deploio(), Layer(deploy_job=DeployJob(enabled=True))).hooks == ()


def test_worker_failure_of_the_app_outranks_the_manifest() -> None:
    assert merge(deploio(), Layer(worker_failure=WorkerFailure.UNDO)).worker_failure is WorkerFailure.UNDO
    assert merge(deploio(), Layer(size="mini")).worker_failure is WorkerFailure.WARN


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        (Layer(workers=(WorkerJob(name="gone", size="mini"),)), "change gone, which its manifest does not have"),
        (Layer(crons=(ScheduledJob(name="gone", command="c"),)), "--scheduled-job-schedule"),
        (Layer(deploy_job=DeployJob(retries=1)), "--deploy-job-command"),
        (Layer(workers=(WorkerJob(name="nightly", command="c"),)), "'nightly' is a worker and a cron job"),
        (Layer(workers=(CLOCK,), crons=(TIDY.model_copy(update={"name": "clock"}),)), "'clock' is a worker and"),
    ],
)
def test_settings_that_do_not_fit_the_manifest_are_refused(layer: Layer, sentence: str) -> None:
    with pytest.raises(ManifestError, match=sentence):
        merge(deploio(crons=(cron(),)), layer)


@pytest.mark.parametrize(
    "schedule", ["", "daily", "* * * *", "61 * * * *", "0 0 31 2 *", "* * * * * *", "R * * * *", "x" * 300]
)
def test_schedules_are_read_by_the_schedulers_parser(schedule: str) -> None:
    with pytest.raises(ValueError, match="schedule"):
        ScheduledJob(name="tidy", schedule=schedule)


@pytest.mark.parametrize("name", ["web", "UPPER", "", "a/b", "-a"])
def test_names_of_jobs_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        WorkerJob(name=name, command="c")


# ---- one call's change -----------------------------------------------------------------------------------------


def test_a_change_touches_what_it_names_alone() -> None:
    before = Layer(size="mini", workers=(CLOCK,), crons=(TIDY,), deploy_job=DeployJob(command="m", retries=2))
    change = Change(
        workers=(WorkerJob(name="clock", size="mini"),),
        deploy_job=DeployJob(retries=0),
        size="default",
        worker_failure=WorkerFailure.WARN,
        delete_crons=("tidy",),
    )
    assert layer_after("shop", before, change) == Layer(
        workers=(WorkerJob(name="clock", command="python clock.py", size="mini"),),
        deploy_job=DeployJob(command="m", retries=0),
        worker_failure=WorkerFailure.WARN,
    )
    assert layer_after("shop", before, Change()) == before
    assert layer_after("shop", before, Change(delete_deploy_job=True)).deploy_job == DeployJob()


def test_jobs_have_a_limit_and_unknown_ones_can_not_be_deleted() -> None:
    four = tuple(WorkerJob(name=f"w{number}", command="c") for number in range(4))
    with pytest.raises(LockstepError, match="workers: tuple should have at most 3 items"):
        layer_after("shop", Layer(), Change(workers=four))
    with pytest.raises(LockstepError, match="there is no worker job 'tidy' in the settings of shop: 'apps:info shop'"):
        layer_after("shop", Layer(crons=(TIDY,)), Change(delete_workers=("tidy",)))


def test_env_is_config() -> None:
    change = Change(env={"A": "new", "C": "3"}, delete_env=("B",))
    assert config_after("shop", {"A": "1", "B": "2"}, change) == {"A": "new", "C": "3"}
    with pytest.raises(LockstepError, match="B is not set on shop"):
        config_after("shop", {}, change)
    with pytest.raises(UsageError, match="LOCKSTEP_"):
        Change(env={"LOCKSTEP_APP": "x"})


@pytest.mark.parametrize("branch", ["main", "feature/a-b", "release-1.2", "_x"])
def test_branches(branch: str) -> None:
    assert Change(branch=branch).branch == branch
    assert Change(branch=f"refs/heads/{branch}").branch == branch


@pytest.mark.parametrize("ref", ["refs/tags/v1", "refs/main", "refs/heads/refs/x"])
def test_a_ref_that_is_no_branch(ref: str) -> None:
    with pytest.raises(UsageError, match="is a ref and not a branch: give the name of a branch"):
        Change(branch=ref)


@pytest.mark.parametrize(
    "branch", ["", "-d", "/a", "a/", "a//b", "a..b", "a b", "a.lock", ".a", "a/.b", "a;b", "ü", "a\n", "refs/heads/"]
)
def test_what_is_no_branch(branch: str) -> None:
    with pytest.raises(UsageError, match="is not a branch"):
        Change(branch=branch)


def test_description_shows_no_value_of_a_variable() -> None:
    change = Change(
        workers=(CLOCK,), env={"TOKEN": "sesame"}, size="mini", delete_crons=("tidy",), deploy_job=DeployJob(retries=1)
    )
    assert describe(change) == "worker job clock, deploy job, size mini, env TOKEN, without tidy"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"env": {"PORT": "2"}, "delete_env": ("PORT",)}, "'PORT' is given and taken back in one"),
        ({"workers": (CLOCK,), "delete_workers": ("clock",)}, "'clock' is given and taken back in one"),
        ({"crons": (TIDY,), "delete_crons": ("tidy",)}, "'tidy' is given and taken back in one"),
        ({"deploy_job": DeployJob(retries=1), "delete_deploy_job": True}, "'deploy job' is given and taken back"),
        ({"replicas": 1, "unset_replicas": True}, "'replicas' is given and taken back"),
        ({"workers": (WorkerJob(name="clock"),)}, "the job clock is given nothing but its name"),
        ({"crons": (ScheduledJob(name="tidy"),)}, "the job tidy is given nothing but its name"),
    ],
)
def test_what_says_two_things_or_none_is_no_change(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Change(**change)


def test_a_worker_can_become_a_cron_job_in_one_change() -> None:
    moved = Change(crons=(ScheduledJob(name="clock", command="c", schedule="@daily"),), delete_workers=("clock",))
    assert [job.name for job in layer_after("shop", Layer(workers=(CLOCK,)), moved).crons] == ["clock"]


# ---- origins ---------------------------------------------------------------------------------------------------


def test_each_value_has_its_origin() -> None:
    asked = deploio(worker("mailer", limits=MICRO), env=(EnvVar(name="MODE", value="x"),), crons=(cron(),))
    layer = Layer(size="mini", workers=(CLOCK, WorkerJob(name="mailer", size="mini")))
    live = release().model_copy(update={"spec": merge(asked, layer), "asked": asked, "config": {"TOKEN": "sesame"}})
    assert base_of(live) == asked
    found = {(known.what, known.key): (known.value, known.origin) for known in origins(live, layer, {"web": 3})}
    assert found[("web", "command")] == ("the command of the image", "default")
    assert found[("web", "limits")] == ("mini (0.25 cores, 512M)", "app")
    assert found[("web", "replicas")] == ("3", "app")
    assert found[("worker mailer", "command")] == ("python mail.py", ".deploio.yaml")
    assert found[("worker mailer", "limits")][1] == "app"
    assert found[("worker clock", "command")] == ("python clock.py", "app")
    assert found[("worker clock", "limits")][1] == "default"
    assert found[("cron nightly", "schedule")] == ("0 3 * * *", ".deploio.yaml")
    assert found[("env", "MODE")] == ("***", ".deploio.yaml")
    assert found[("env", "TOKEN")] == ("***", "app")
    assert found[("workers", "failure")] == ("warn", "default")


def test_without_a_manifest_all_is_default() -> None:
    live = release(web(), dialect=Dialect.NONE)
    assert {known.origin for known in origins(live, Layer(), {})} == {"default"}
    assert Known("web", "replicas", "1", "default") in origins(live, Layer(), {})


@pytest.mark.parametrize(
    ("dialect", "of_job", "of_hook"),
    [(Dialect.PAAS, 600.0, 300.0), (Dialect.DEPLOIO, 300.0, 300.0), (Dialect.PROCFILE, 600.0, 3600.0)],
)
def test_timeout_that_no_file_gives_is_the_default(dialect: Dialect, of_job: float, of_hook: float) -> None:
    def timeouts(more: float) -> list[tuple[str, str]]:
        job, hook = cron(timeout=of_job + more), Hook(name="migrate", command="m", timeout=of_hook + more)
        live = release(web(), dialect=dialect, crons=(job,), hooks=(hook,))
        return [(known.value, known.origin) for known in origins(live, Layer(), {}) if known.key == "timeout"]

    assert timeouts(0) == [(f"{of_job:g} s", "default"), (f"{of_hook:g} s", "default")]
    assert timeouts(1) == [(f"{of_job + 1:g} s", dialect.value), (f"{of_hook + 1:g} s", dialect.value)]


def test_before_a_release_values_have_the_form_that_they_have_after_it() -> None:
    """Replicas of all processes, also of those that only the manifest will name."""
    layer = Layer(workers=(CLOCK,), crons=(TIDY.model_copy(update={"timeout": 300.0}),))
    found = {(known.what, known.key): known.value for known in given(layer, (), {"web": 2, "clock": 0, "mailer": 3})}
    assert found[("cron tidy", "timeout")] == "300 s"
    replicas = {what: value for (what, key), value in found.items() if key == "replicas"}
    assert replicas == {"web": "2", "worker clock": "0", "worker mailer": "3"}
