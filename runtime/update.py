"""Changing the settings of an app: all that one call asks for becomes one release, or nothing changes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar

from pydantic import ValidationError

from runtime.apps import Apps, check_config, check_value
from runtime.converge import Converger
from runtime.deployer import Deployer, Draft, Outcome
from runtime.errors import LockstepError, ManifestError, UsageError
from runtime.layer import DeployJob, Layer, ScheduledJob, WorkerJob, base_of, merge
from runtime.locks import Locked
from runtime.model import WEB, Deploy, Release, Sequel, WorkerFailure
from runtime.parts import Parts
from runtime.sequel import carry_out
from runtime.sizes import Size
from runtime.store import Transaction
from runtime.story import Story

BRANCH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,99}")
REFS: Final = "refs/"
HEADS: Final = "refs/heads/"  # what git itself calls a branch by
CREATE: Final = "apps:create"
UPDATE: Final = "apps:update"
DEFAULT: Final = "default"  # in the place of a value: leave it to the manifest again

Job = TypeVar("Job", WorkerJob, ScheduledJob)


@dataclass(frozen=True)
class Change:
    """What one `apps:create` or `apps:update` asks for; None and nothing: leave it as it is.

    Raises UsageError for what no app can be given.
    """

    workers: tuple[WorkerJob, ...] = ()
    crons: tuple[ScheduledJob, ...] = ()
    deploy_job: DeployJob = field(default_factory=DeployJob)
    size: Size | Literal["default"] | None = None
    worker_failure: WorkerFailure | Literal["default"] | None = None
    env: dict[str, str] = field(default_factory=dict)  # config values, as `config:set` sets them
    branch: str | None = None
    replicas: int | None = None  # of web, as `ps:scale` sets them
    delete_workers: tuple[str, ...] = ()
    delete_crons: tuple[str, ...] = ()
    delete_deploy_job: bool = False
    delete_env: tuple[str, ...] = ()
    unset_replicas: bool = False

    def __post_init__(self) -> None:
        for name, value in self.env.items():
            check_value(name, value)
        if self.branch is not None:
            object.__setattr__(self, "branch", branch_name(self.branch))
        jobs: tuple[WorkerJob | ScheduledJob, ...] = (*self.workers, *self.crons)
        for job in jobs:
            if _given(job).keys() == {"name"}:
                raise UsageError(f"the job {job.name} is given nothing but its name: add its command, or what changes")
        self._check_sides()

    def _check_sides(self) -> None:
        """What is given is not taken back in one breath."""
        workers, crons = ([job.name for job in jobs] for jobs in (self.workers, self.crons))
        deploy_job = self.deploy_job != DeployJob()
        for given, taken in (
            (self.env, self.delete_env),
            (workers, self.delete_workers),
            (crons, self.delete_crons),
            (["deploy job"] * deploy_job, ["deploy job"] * self.delete_deploy_job),
            (["replicas"] * (self.replicas is not None), ["replicas"] * self.unset_replicas),
        ):
            for name in {*given} & {*taken}:
                raise UsageError(f"'{name}' is given and taken back in one: say one of the two")


def layer_after(app: str, layer: Layer, change: Change) -> Layer:
    """Raises LockstepError when something is to be deleted that is not there, or when there are too many jobs."""
    job = DeployJob() if change.delete_deploy_job else layer.deploy_job
    values = {
        "size": _chosen(layer.size, change.size),
        "worker_failure": _chosen(layer.worker_failure, change.worker_failure),
        "workers": _jobs(app, "worker job", layer.workers, change.workers, change.delete_workers),
        "crons": _jobs(app, "scheduled job", layer.crons, change.crons, change.delete_crons),
        "deploy_job": job.model_copy(update=_given(change.deploy_job)),
    }
    try:
        return Layer(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise LockstepError(f"{first['loc'][0]}: {first['msg'][:1].lower()}{first['msg'][1:]}") from None


def config_after(app: str, before: dict[str, str], change: Change) -> dict[str, str]:
    """Raises LockstepError for a value that is not set and is to be deleted, or when there are too many."""
    missing = [name for name in change.delete_env if name not in before]
    if missing:
        raise LockstepError(f"{missing[0]} is not set on {app}: 'config {app}' lists what is")
    after = {name: value for name, value in {**before, **change.env}.items() if name not in change.delete_env}
    check_config(app, after)
    return after


def describe(change: Change) -> str:
    """What the record says of it, and `releases` behind the name of the command; no values of variables."""
    jobs = [f"worker job {job.name}" for job in change.workers] + [f"scheduled job {job.name}" for job in change.crons]
    gone = [*change.delete_workers, *change.delete_crons, *(["deploy job"] if change.delete_deploy_job else [])]
    values = {"size": change.size, "worker failure": change.worker_failure, "replicas": change.replicas}
    said = [
        *jobs,
        *(["deploy job"] if change.deploy_job != DeployJob() else []),
        *(f"{name} {value}" for name, value in values.items() if value is not None),
        *([f"branch {change.branch}"] if change.branch is not None else []),
        *([f"env {' '.join(sorted(change.env))}"] if change.env else []),
        *([f"without {', '.join((*gone, *change.delete_env))}"] if gone or change.delete_env else []),
        *(["replicas of the manifest"] if change.unset_replicas else []),
    ]
    return ", ".join(said)


async def update_app(
    parts: Parts, deployer: Deployer, app: str, change: Change, who: str, story: Story
) -> Outcome | None:
    """Make the change; a live app goes to a new release with all of it, without a build. None: no release was needed.

    Raises LockstepError before anything is changed when it does not fit the app. What is no part of a release (branch
    and replicas) is changed once that is live.
    """
    with parts.store.read() as tx:
        current = tx.releases.current(app) if tx.apps.get(app) else None
        layer, config = tx.apps.layer(app), tx.apps.config(app)
    new_layer, new_config = layer_after(app, layer, change), config_after(app, config, change)
    _check_fits(current, new_layer)
    if current is None or (new_layer == layer and new_config == config):
        await _without_release(parts, deployer, app, change, who)
        return None

    async def make(_: Deploy, __: Story) -> Draft:
        with parts.store.read() as tx:
            live, layer, config = tx.releases.current(app), tx.apps.layer(app), tx.apps.config(app)
        if live is None:
            raise LockstepError(f"the release of {app} that was live has been undone meanwhile: try again")
        after, what = config_after(app, config, change), f"{UPDATE} {describe(change)}"
        return Draft(live.commit, live.image, base_of(live), what, after, layer_after(app, layer, change))

    return await deployer.deploy(
        app, kind="config", who=who, commit=current.commit, make=make, story=story, sequel=sequel_of(change)
    )


async def _without_release(parts: Parts, deployer: Deployer, app: str, change: Change, who: str) -> None:
    """For an app that is not live yet, or for what is no part of a release."""
    async with deployer.locks.soon(app) as free:
        if not free:
            raise Locked(f"{app} is being deployed: change it when that has ended")
        with parts.store.write() as tx:
            live = tx.apps.get(app).current_release is not None
            if not live:
                put(tx, app, change, who, parts, UPDATE)
            carry_out(tx, app, sequel_of(change))
        if live and (change.replicas is not None or change.unset_replicas):
            await Converger(parts).converge(app)


def put(tx: Transaction, app: str, change: Change, who: str, parts: Parts, verb: str) -> None:
    """Keep settings and values for the first release of an app."""
    tx.apps.set_layer(app, layer_after(app, tx.apps.layer(app), change))
    config, what = config_after(app, tx.apps.config(app), change), f"{verb} {describe(change)}"
    tx.apps.replace_config(app, config, who, parts.clock(), what)


def sequel_of(change: Change) -> Sequel:
    """What is no part of a release."""
    asked = change.replicas is not None or change.unset_replicas
    return Sequel(branch=change.branch, replicas={WEB: change.replicas} if asked else {})


def create_app(parts: Parts, apps: Apps, name: str, change: Change, who: str) -> None:
    """Make an app with these settings; nothing of it runs yet. Raises LockstepError, and then there is no app."""

    def settings(tx: Transaction) -> None:
        put(tx, name, change, who, parts, CREATE)
        carry_out(tx, name, sequel_of(change))

    apps.create(name, settings)


def _check_fits(current: Release | None, layer: Layer) -> None:
    """What can be seen now: the manifest of the live release and the settings go together."""
    if current is None:
        return
    try:
        merge(base_of(current), layer)
    except ManifestError as error:
        raise LockstepError(str(error)) from None


def branch_name(text: str) -> str:
    """The name of the branch, also when it is given as the ref that it is. Raises UsageError.

    What is taken is a part of git's own rules (git check-ref-format) that leaves nothing to quote.
    """
    name = text.removeprefix(HEADS)
    if name.startswith(REFS):
        raise UsageError(f"'{text[:60]}' is a ref and not a branch: give the name of a branch, as in main")
    parts = name.split("/")
    odd = not BRANCH.fullmatch(name) or ".." in name or name.endswith((".", "/"))
    if odd or any(not part or part.startswith(".") or part.endswith(".lock") for part in parts):
        raise UsageError(f"'{name[:60]}' is not a branch: use letters, digits, '.', '_', '-' and '/'")
    return name


def _jobs(
    app: str, what: str, there: tuple[Job, ...], given: tuple[Job, ...], delete: Iterable[str]
) -> tuple[Job, ...]:
    """By name: a job that is there gets the values that are given, and keeps the others."""
    found = {job.name: job for job in there}
    for name in delete:
        if found.pop(name, None) is None:
            raise LockstepError(
                f"there is no {what} '{name[:40]}' in the settings of {app}: "
                f"'apps:info {app}' shows which there are, and what comes from the manifest is changed there"
            )
    for job in given:
        found[job.name] = found[job.name].model_copy(update=_given(job)) if job.name in found else job
    return tuple(found.values())


def _given(value: WorkerJob | ScheduledJob | DeployJob) -> dict[str, Any]:
    return {name: item for name, item in value if item is not None}


def _chosen(before: Any, wanted: Any) -> Any:
    if wanted is None:
        return before
    return None if wanted == DEFAULT else wanted
