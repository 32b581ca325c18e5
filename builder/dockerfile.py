"""Dockerfile text for the engine's own frontend: no heredocs, no `# syntax` line, everything quoted.

Instructions are either text that was made here, or a `Run`, whose form is chosen when it is written.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from runtime.errors import BuildError

OURS: Final = ".lockstep"  # folder of the context for files of the platform's own
_PLAIN_SCRIPT: Final = re.compile(r"[A-Za-z][ -~]*[A-Za-z0-9.'\"_/;]")  # one line that the shell form leaves as it is
_REFERENCE: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]*")
_PATH: Final = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@+/-]*")
_SCOPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder that the engine keeps from build to build."""

    id: str
    target: str

    @property
    def mount(self) -> str:
        return f"--mount=type=cache,id={self.id},target={self.target}"


@dataclass(frozen=True, slots=True)
class Run:
    """A shell script that makes one layer; `hostile` when any of it comes from a push."""

    script: str
    cache: Cache | None = None
    hostile: bool = False
    exports: tuple[tuple[str, str], ...] = ()  # variables that ENV can't hold, for this script


Instruction = str | Run


def cache(scope: str, tool: str, target: str) -> Cache:
    """The cache of `tool` for the app that `scope` stands for. Raises BuildError for a scope that is not plain."""
    if not _SCOPE.fullmatch(scope):
        raise BuildError(f"'{scope[:60]}' can't name a build cache: use letters, digits, dots and hyphens")
    return Cache(f"{scope}-{tool}", target)


def text(instructions: Iterable[Instruction]) -> str:
    """The Dockerfile, a line per instruction."""
    return "".join(f"{_written(instruction)}\n" for instruction in instructions)


def from_(reference: str, stage: str | None = None) -> str:
    if not _REFERENCE.fullmatch(reference):
        raise BuildError(f"'{reference[:200]}' is not an image reference: correct the base images of the instance")
    return f"FROM {reference} AS {stage}" if stage else f"FROM {reference}"


def copy(sources: Sequence[str], target: str, *, stage: str | None = None, owner: str | None = None) -> str:
    """COPY of plain paths (see `is_plain_path`)."""
    unsafe = next((path for path in (*sources, target) if not is_plain_path(path.removeprefix("/"))), None)
    if unsafe is not None:
        raise BuildError(f"'{unsafe[:200]}' can't be copied into the image: use letters, digits and '_ . @ + -' in it")
    flags = [f"--from={stage}"] * bool(stage) + [f"--chown={owner}:{owner}"] * bool(owner)
    return " ".join(["COPY", *flags, *sources, target])


def is_plain_path(path: str) -> bool:
    """Whether a Dockerfile takes `path` literally: no wildcard, no variable, not out of the context."""
    return bool(_PATH.fullmatch(path)) and ".." not in path.split("/")


def env(values: Mapping[str, str]) -> str:
    """ENV with literal values. A value may not hold a newline: ENV has no way to write one."""
    return "ENV " + " ".join(f"{name}={_quoted(value)}" for name, value in values.items())


def path(*folders: str) -> str:
    """ENV that puts folders of ours in front of the PATH."""
    return f"ENV PATH={':'.join(folders)}:$PATH"


def command(words: Sequence[str]) -> str:
    return f"CMD {json.dumps(list(words))}"


def checked(what: str, value: str) -> str:
    """`value` if the shell and the kernel can take it. Raises BuildError naming `what`."""
    if _CONTROL.search(value):
        raise BuildError(f"{what} holds a character that no program can be given: remove it")
    return value


def _quoted(value: str) -> str:
    if "\n" in value:
        raise ValueError("ENV can't hold a newline")
    if re.fullmatch(r"[A-Za-z0-9_./:@,+-]+", value):
        return value
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'


def _written(instruction: Instruction) -> str:
    if isinstance(instruction, str):
        return instruction
    mount = f"{instruction.cache.mount} " if instruction.cache else ""
    return f"RUN {mount}{_form(instruction)}"


def _form(run: Run) -> str:
    """The shell form, which reads better in the story of a build, for a script of ours; else JSON."""
    exports = "".join(f"export {name}={shlex.quote(value)}; " for name, value in run.exports)
    if not exports and not run.hostile and _PLAIN_SCRIPT.fullmatch(run.script) and "<<" not in run.script:
        return run.script
    # an escaped '<' is no heredoc for newer frontends either
    return json.dumps(["/bin/sh", "-c", exports + run.script]).replace("<", "\\u003c")
