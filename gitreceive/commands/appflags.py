"""The flags of apps:create and apps:update, and the change that they ask for."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar, get_args

import click
from pydantic import ValidationError

from builder.manifest.fields import go_duration
from runtime.errors import UsageError
from runtime.layer import DeployJob, ScheduledJob, WorkerJob
from runtime.model import WorkerFailure
from runtime.sizes import Size
from runtime.update import DEFAULT, Change

Function = TypeVar("Function", bound=Callable[..., Any])
Job = TypeVar("Job", WorkerJob, ScheduledJob, DeployJob)
Option = Callable[[Function], Function]

SIZES: Final = get_args(Size)
MOST_RETRIES: Final = 5
MOST_REPLICAS: Final = 100


def _seconds(_: click.Context, __: click.Parameter, value: Any) -> Any:
    """ "5m", "90s", from one minute to thirty; of one flag, or of each of several."""
    try:
        return tuple(map(go_duration, value)) if isinstance(value, tuple) else value and go_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}") from None


def _many(name: str, help_: str, **more: Any) -> Option[Any]:
    return click.option(name, multiple=True, help=help_, **more)


_RETRIES: Final = click.IntRange(0, MOST_RETRIES)
_GIVEN: Final = (
    _many("--worker-job-name", "Name of a worker job; the flags may be repeated, matched by their order."),
    _many("--worker-job-command", "Its command."),
    _many("--worker-job-size", "Its size.", type=click.Choice(SIZES)),
    _many("--scheduled-job-name", "Name of a scheduled job; the flags may be repeated, matched by their order."),
    _many("--scheduled-job-command", "Its command."),
    _many("--scheduled-job-schedule", "When it is due: five fields, or @daily."),
    _many("--scheduled-job-size", "Its size.", type=click.Choice(SIZES)),
    _many("--scheduled-job-retries", "How often it is tried again, 0 to 5.", type=_RETRIES),
    _many("--scheduled-job-timeout", "How long a run may take, 1m to 30m.", callback=_seconds),
    click.option("--deploy-job-name", help="Name of the job that runs before a release goes live."),
    click.option("--deploy-job-command", help="Its command."),
    click.option("--deploy-job-retries", type=_RETRIES, help="How often it is tried again, 0 to 5."),
    click.option("--deploy-job-timeout", callback=_seconds, help="How long it may take, 1m to 30m."),
    click.option("--deploy-job-enabled", type=bool, help="=false: none runs, whatever the manifest says."),
    click.option("--size", type=click.Choice((*SIZES, DEFAULT)), help="Size of web; default: of the manifest."),
    click.option("--replicas", type=click.IntRange(0, MOST_REPLICAS), help="How many of web, as ps:scale sets it."),
    click.option("--branch", help="The branch that is deployed."),
    click.option(
        "--worker-failure",
        type=click.Choice((*(item.value for item in WorkerFailure), DEFAULT)),
        help="What a worker that does not stay up does to the deploy.",
    ),
    _many("--env", "A config value, as config:set sets it.", metavar="KEY=VALUE"),
)
_DELETED: Final = (
    _many("--delete-worker-job", "Take a worker job away that these flags made.", metavar="NAME"),
    _many("--delete-scheduled-job", "Take a scheduled job away that these flags made.", metavar="NAME"),
    click.option("--delete-deploy-job", is_flag=True, help="Leave the deploy job to the manifest again."),
    _many("--delete-env", "Remove a config value.", metavar="KEY"),
    click.option("--unset-replicas", is_flag=True, help="Leave the replicas of web to the manifest again."),
)


def settings_options(function: Function) -> Function:
    """The flags that give something."""
    return _decorated(function, _GIVEN)


def delete_options(function: Function) -> Function:
    """The flags that take something back."""
    return _decorated(function, _DELETED)


def change_of(flags: dict[str, Any]) -> Change:
    """What the flags ask for. Raises UsageError."""
    workers = _rows("worker_job", flags, ("name", "command", "size"))
    crons = _rows("scheduled_job", flags, ("name", "command", "schedule", "size", "retries", "timeout"))
    job = {key: flags[f"deploy_job_{key}"] for key in ("enabled", "name", "command", "retries", "timeout")}
    failure = flags["worker_failure"]
    return Change(
        workers=tuple(_made(WorkerJob, "--worker-job", row) for row in workers),
        crons=tuple(_made(ScheduledJob, "--scheduled-job", row) for row in crons),
        deploy_job=_made(DeployJob, "--deploy-job", job),
        size=flags["size"],
        worker_failure=WorkerFailure(failure) if failure not in (None, DEFAULT) else failure,
        env=dict(pair(word) for word in flags["env"]),
        branch=flags["branch"],
        replicas=flags["replicas"],
        delete_workers=tuple(flags.get("delete_worker_job", ())),
        delete_crons=tuple(flags.get("delete_scheduled_job", ())),
        delete_deploy_job=flags.get("delete_deploy_job", False),
        delete_env=tuple(flags.get("delete_env", ())),
        unset_replicas=flags.get("unset_replicas", False),
    )


def pair(word: str) -> tuple[str, str]:
    """KEY=VALUE. Raises UsageError."""
    name, equals, value = word.partition("=")
    if not equals:
        raise UsageError(
            f"{shlex.quote(word[:60])} is not KEY=VALUE: quote values with spaces twice, as in \"KEY='two words'\""
        )
    return name, value


def _rows(kind: str, flags: dict[str, Any], keys: Sequence[str]) -> list[dict[str, Any]]:
    """The n-th of each flag belongs to the n-th name; one that is given for some jobs has to be given for all."""
    names = flags[f"{kind}_name"]
    given = {key: flags[f"{kind}_{key}"] for key in keys if flags[f"{kind}_{key}"]}
    for key, values in given.items():
        if len(values) != len(names):
            flag = f"--{kind}_{key}".replace("_", "-")
            raise UsageError(
                f"{flag} is given {len(values)} times for {len(names)} names: give it once for each job, "
                "or change one job after the other"
            )
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise UsageError(f"'{twice[0][:40]}' is named twice: keep one")
    return [{key: values[index] for key, values in given.items()} for index in range(len(names))]


def _made(kind: type[Job], flag: str, values: dict[str, Any]) -> Job:
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        why = str(first.get("ctx", {}).get("error") or first["msg"])
        raise UsageError(f"{flag}-{first['loc'][0]}: {why}") from None


def _decorated(function: Function, options: Sequence[Option[Any]]) -> Function:
    for option in reversed(options):
        function = option(function)
    return function
