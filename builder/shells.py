"""Commands in an image that has no shell: they are run as words, or can not be run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Final

from runtime.errors import BuildError
from runtime.model import AppSpec, Shell

_SINGLE: Final = re.compile(r"'[^']*'")
_DOUBLE: Final = re.compile(r'"[^"]*"')
_EXPANDED: Final = re.compile(r"[$`]")  # also between double quotes
_SYNTAX: Final = re.compile(r"[;|&<>()*?\n]")
_ASSIGNED: Final = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_]*=")
_BUILT_IN: Final = frozenset({"exec", "cd", "export", "set", "unset", "ulimit", "umask", "eval", "source", ".", ":"})


def without_shell(spec: AppSpec) -> AppSpec:
    """The spec for an image without a shell. Raises BuildError for a command that can not be run in such an image."""
    for name, line in _lines(spec):
        found = _needs_shell(line)
        if found is not None:
            raise BuildError(
                f"{name} can not be run: '{found}' in its command needs a shell, and the image has no /bin/sh; "
                "write the command without it, or put a shell into the image"
            )
    for process in spec.processes:
        if process.before:
            raise BuildError(
                f"the commands in front of {process.name} can not be run: the image has no /bin/sh; "
                "take them out, or put a shell into the image"
            )
    changes = {"shell": Shell.EXEC}
    return spec.model_copy(
        update={
            "processes": tuple(process.model_copy(update=changes) for process in spec.processes),
            "crons": tuple(job.model_copy(update=changes) for job in spec.crons),
            "hooks": tuple(hook.model_copy(update=changes) for hook in spec.hooks),
        }
    )


def has_lines(spec: AppSpec) -> bool:
    """Whether anything of the app is run as a command line."""
    return any(_lines(spec)) or any(process.before for process in spec.processes)


def _lines(spec: AppSpec) -> Iterator[tuple[str, str]]:
    """Each command line, and what it is of."""
    for process in spec.processes:
        if process.command is not None:
            yield process.name, process.command
    for job in spec.crons:
        yield job.name, job.command
        if job.stop_command is not None:
            yield job.name, job.stop_command
    for hook in spec.hooks:
        yield hook.name, hook.command


def _needs_shell(line: str) -> str | None:
    """What in it is for a shell."""
    expanded = _SINGLE.sub("", line)
    bare = _DOUBLE.sub("", expanded)
    found = _EXPANDED.search(expanded) or _SYNTAX.search(bare) or _ASSIGNED.match(line)
    if found is not None:
        return found.group().strip() or "a new line"
    try:
        words = shlex.split(line)
    except ValueError:
        return "a quote that is not closed"
    return words[0] if words and words[0] in _BUILT_IN else None
