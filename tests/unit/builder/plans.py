"""A source in memory, and short ways to a plan."""

from __future__ import annotations

from collections.abc import Mapping

from builder.buildpacks import plan_build
from builder.model import MANIFEST_LIMIT, BuildPlan, Source, Stack
from runtime.errors import SourceError
from runtime.model import AppSpec, Build, Dialect, EnvVar, Process, ProcessKind

STACK = Stack(run="lockstep/run:1", build="lockstep/build:1", static="lockstep/static:1")


class Files:
    """A source whose files are a dict."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = dict(sorted(files.items()))

    def paths(self) -> tuple[str, ...]:
        return tuple(self._files)

    def read(self, path: str, limit: int = MANIFEST_LIMIT) -> bytes | None:
        content = self._files.get(path)
        if content is not None and len(content) > limit:
            raise SourceError(f"'{path}' is too large")
        return None if content is None else content.encode()

    def below(self, root: str) -> Source:
        raise NotImplementedError(root)


def web(command: str | None = "serve", port: int | None = 8000) -> Process:
    return Process(name="web", kind=ProcessKind.WEB, command=command, port=port)


def spec(
    build: Build | None = None, *, process: Process | None = None, env: Mapping[str, str] | None = None
) -> AppSpec:
    made = (build or Build()).model_copy(
        update={"env": tuple(EnvVar(name=name, value=value) for name, value in (env or {}).items())}
    )
    return AppSpec(dialect=Dialect.PROCFILE, build=made, processes=(process or web(),))


def plan(files: Mapping[str, str], wanted: AppSpec | None = None, stack: Stack = STACK) -> BuildPlan:
    return plan_build(wanted or spec(), Files(files), stack, "lockstep-shop")


def lines(found: BuildPlan, word: str) -> list[str]:
    """The instructions of the Dockerfile that begin with `word`."""
    return [line for line in found.dockerfile.splitlines() if line.startswith(word)]
