"""The values that pass between the builder's files."""

from __future__ import annotations

from typing import Protocol

from pydantic import Field

from runtime.model import Value

MANIFEST_LIMIT = 256 * 1024  # bytes of a manifest or any other file that the platform itself reads


class Source(Protocol):
    """The files of one commit (or of one folder of it), read-only. Paths are relative, with '/'."""

    def paths(self) -> tuple[str, ...]:
        """Every file and symlink, sorted."""

    def read(self, path: str, limit: int = MANIFEST_LIMIT) -> bytes | None:
        """The content of a regular file; None when there is none at `path`.

        Raises SourceError when it is a symlink or is larger than `limit` bytes.
        """

    def below(self, root: str) -> Source:
        """The same commit seen from the folder `root`. Raises SourceError when there is no such folder."""


class Stack(Value):
    """The base images that builds stand on, and what is in them."""

    run: str  # reference for FROM: slim, what the app's processes run on
    build: str  # reference for FROM: run plus compilers, uv, npm
    static: str  # reference for FROM: run plus the web server for static sites
    pythons: tuple[str, ...] = ("3.11",)  # minor versions in run and build, oldest first
    user: str = "app"  # the non-root user that all images run as, home and workdir /app


class BuildPlan(Value):
    """What to send to the engine for one commit, made by pure functions."""

    dockerfile: str  # text
    files: dict[str, bytes] = Field(default_factory=dict)  # files of ours added to the context, by path
    languages: tuple[str, ...]  # shown and kept in the release: "python 3.11"
    version_wanted: str | None = None
    version_used: str | None = None
    args: dict[str, str] = Field(default_factory=dict)  # build arguments, for the app's own Dockerfile
    command: tuple[str, ...] | None = None  # default command of the web process, where the buildpack knows one
    details: tuple[str, ...] = ()  # what matched and why, for the pusher
    warnings: tuple[str, ...] = ()
