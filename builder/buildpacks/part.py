"""What one language adds to an image, and how the parts become a Dockerfile.

The order is the order of change: tools (the same for every app), dependencies, the source. A push
that changes only code makes only the last layers anew.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from builder import dockerfile
from builder.dockerfile import Instruction, Run
from builder.model import Stack
from runtime.model import Build

BUILD_STAGE: Final = "build"
APP: Final = "/app"
OWN_NAMES: Final = ("PATH", "HOME")  # the build needs its own
_SYSTEM_PACKAGES: Final = ("apt-get", "apt", "dpkg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The instructions of one language for the stages of a build."""

    language: str  # "python 3.11"
    tools: tuple[Instruction, ...] = ()  # nothing of the app is in them, so all apps share their layers
    wants: tuple[str, ...] = ()  # files of the app that `install` needs
    install: tuple[Instruction, ...] = ()  # the dependencies
    source_first: bool = False  # `install` needs the whole source
    after: tuple[Instruction, ...] = ()  # with the source in place
    products: tuple[str, ...] = ()  # folders of the build stage that the run stage needs
    modules: str | None = None  # such a folder inside the source's
    run: tuple[Instruction, ...] = ()  # settings of the run stage
    command: tuple[str, ...] | None = None  # for web
    version_wanted: str | None = None
    version_used: str | None = None
    files: dict[str, bytes] = field(default_factory=dict)  # of ours, for the context
    details: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def needs_source(parts: Iterable[Part], build: Build) -> bool:
    """Whether anything of the build works on the app's source."""
    return bool(build.steps) or any(part.source_first or part.after for part in parts)


def build_stage(parts: Sequence[Part], build: Build, stack: Stack) -> list[Instruction]:
    """The stage with compilers: dependencies, then the source if it is needed, then the manifest's steps."""
    lines: list[Instruction] = [
        dockerfile.from_(stack.build, BUILD_STAGE),
        dockerfile.env({"HOME": "/root"}),
        f"WORKDIR {APP}",
    ]
    lines += [line for part in parts for line in part.tools]
    values, exports = _variables(build)
    lines += [dockerfile.env(values)] if values else []
    return lines + [_exporting(line, exports) for line in _app_lines(parts, build)]


def _app_lines(parts: Sequence[Part], build: Build) -> Iterator[Instruction]:
    """What the app's own files have a part in."""
    for part in parts:
        yield from () if part.source_first else (*_wanted(part), *part.install)
    if needs_source(parts, build):
        yield dockerfile.copy(["."], APP)
    for part in parts:
        yield from part.install if part.source_first else ()
    for part in parts:
        yield from part.after
    for number, step in enumerate(build.steps, 1):
        yield Run(dockerfile.checked(f"build step {number}", step), hostile=True)


def _exporting(line: Instruction, exports: Mapping[str, str]) -> Instruction:
    return replace(line, exports=tuple(exports.items())) if isinstance(line, Run) else line


def run_stage(parts: Sequence[Part], build: Build, stack: Stack, command: Sequence[str] | None) -> list[Instruction]:
    """The stage that becomes the image: what was made, then the source, as the stack's user."""
    lines: list[Instruction] = ["", dockerfile.from_(stack.run), f"WORKDIR {APP}"]
    lines += [dockerfile.copy([path], path, stage=BUILD_STAGE) for part in parts for path in part.products]
    if needs_source(parts, build):
        lines.append(dockerfile.copy([APP], APP, stage=BUILD_STAGE, owner=stack.user))
    else:
        modules = [part.modules for part in parts if part.modules]
        lines += [dockerfile.copy([path], path, stage=BUILD_STAGE, owner=stack.user) for path in modules]
        lines.append(dockerfile.copy(["."], APP, owner=stack.user))
    lines += [line for part in parts for line in part.run]
    return [*lines, f"USER {stack.user}", *([dockerfile.command(command)] if command else [])]


def build_warnings(build: Build) -> tuple[str, ...]:
    """What the pusher must know of the manifest's build section."""
    kept = [
        f"build variable {var.name} is not applied: the build needs its own"
        for var in build.env
        if var.name in OWN_NAMES
    ]
    lost = [
        f"build step {number} installs system packages, which do not reach the image that runs: use a Dockerfile"
        for number, step in enumerate(build.steps, 1)
        if _installs_packages(step)
    ]
    return (*kept, *lost)


def _installs_packages(step: str) -> bool:
    try:
        words = shlex.split(step, comments=True)
    except ValueError:
        words = step.split()
    return "install" in words and any(word in _SYSTEM_PACKAGES for word in words)


def _wanted(part: Part) -> list[Instruction]:
    """COPY of the files that the dependencies are read from, one per folder."""
    folders: dict[str, list[str]] = {}
    for path in part.wants:
        folders.setdefault(path.rpartition("/")[0], []).append(path)
    return [dockerfile.copy(paths, f"{folder or '.'}/") for folder, paths in folders.items()]


def _variables(build: Build) -> tuple[dict[str, str], dict[str, str]]:
    """The build's variables: those for ENV, and those that hold a newline, which ENV has no way to write."""
    wanted = {var.name: var.value for var in build.env if var.name not in OWN_NAMES}
    values = {name: dockerfile.checked(f"build variable {name}", value) for name, value in wanted.items()}
    several = {name: value for name, value in values.items() if "\n" in value}
    return {name: value for name, value in values.items() if name not in several}, several
