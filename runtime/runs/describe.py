"""What the engine is asked for: the container of a one-off run, and a process in a container that runs. Pure."""

from __future__ import annotations

from typing import Any, Final

from runtime import names
from runtime.engine import specs
from runtime.engine.attach import DETACH_KEYS
from runtime.engine.specs import Place, Spec
from runtime.model import Limits, Process, ProcessKind, Release, Shell
from runtime.runs.values import Command, OneOff, Order, Tty
from runtime.scheduler.containers import LOG as KEPT_LOG
from runtime.table import process_of

GRACE: Final = 10.0  # seconds from SIGTERM to SIGKILL
NO_LOG: Final = {"Type": "none", "Config": {}}  # what is written goes to the client, and nowhere else
SESSION: Final = "LOCKSTEP_SESSION"  # whose session a process in a running container belongs to
DOCKERFILE: Final = "dockerfile"  # the language of images that are not built on our stacks
LOGIN: Final = "command -v bash >/dev/null && exec bash; exec sh"


def base_of(release: Release, name: str | None) -> Process:
    """The process whose environment and limits a run has. Raises LockstepError for one that is not there."""
    if name is None:
        return release.spec.web or Process(name="run", kind=ProcessKind.WORKER, limits=Limits())
    return process_of(release, name)


def container_of(order: Order, run: OneOff, release: Release, place: Place, *, has_shell: bool) -> Spec:
    """The container of `run`: the release's image, network and mounts, a process' environment and limits."""
    base = base_of(release, order.process)
    spec = specs.one_off_container(
        release,
        place,
        kind=names.ONE_OFF,
        name=run.id,
        words=_words(order.command, order.tty, has_shell=has_shell),
        limits=base.limits,
        grace=GRACE,
        extra_labels={names.RUN: str(run.number)},
    )
    spec["Env"] = _with(specs.environment(release, run.id, place, port=base.port), order)
    if run.detached:
        return {**spec, "HostConfig": {**spec["HostConfig"], "LogConfig": KEPT_LOG}}
    return {
        **spec,
        **attached(order.tty),
        "HostConfig": {**spec["HostConfig"], "LogConfig": NO_LOG, **_size(order.tty)},
    }


def attached(tty: Tty | None) -> Spec:
    """The part of a container's spec that has its streams lead to a client."""
    streams = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
    return {**streams, "OpenStdin": True, "StdinOnce": True, "Tty": tty is not None}


def exec_of(command: Command | None, tty: Tty | None, who: str, *, has_shell: bool) -> Spec:
    """A process beside the first one of a container; without a command a shell."""
    wanted = Command(line=LOGIN) if command is None else command
    return {
        "AttachStdin": True,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": tty is not None,
        "DetachKeys": DETACH_KEYS,
        "Env": [f"{SESSION}={who}", *([] if tty is None else [f"TERM={tty.kind}"])],
        "Cmd": list(_words(wanted, tty, has_shell=has_shell, in_place=True)),
    }


def _words(command: Command, tty: Tty | None, *, has_shell: bool, in_place: bool = False) -> tuple[str, ...]:
    """What is started. Engines before 23.0 give a terminal its size after the start, so a shell sets it first.

    `in_place`: there is no init process, which tells a command that is not there (127) from one that can not be run.
    """
    size = "" if tty is None or not (tty.rows and tty.columns) else f"stty rows {tty.rows} cols {tty.columns}"
    first = f"{size} 2>/dev/null; " if size else ""
    if command.line is not None:
        return specs.in_shell(first + command.line, Shell.SH)
    if has_shell and (size or in_place):
        return ("/bin/sh", "-c", f'{first}exec "$0" "$@"', *command.words)
    return command.words


def _with(environment: list[str], order: Order) -> list[str]:
    added: dict[str, Any] = {} if order.tty is None else {"TERM": order.tty.kind}
    values = {**dict(item.split("=", 1) for item in environment), **added, **dict(order.env)}
    return [f"{name}={value}" for name, value in sorted(values.items())]


def _size(tty: Tty | None) -> Spec:
    return {} if tty is None else {"ConsoleSize": [tty.rows, tty.columns]}
