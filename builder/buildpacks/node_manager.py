"""Which package manager an app uses, and how it is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from builder.buildpacks import files
from builder.model import Source
from runtime.errors import BuildError

_LOCKS: Final = {
    "npm": {"package-lock.json", "npm-shrinkwrap.json"},
    "yarn": {"yarn.lock"},
    "pnpm": {"pnpm-lock.yaml"},
}
_EXACT: Final = re.compile(r"(npm|pnpm|yarn)@(\d{1,3}\.\d{1,3}\.\d{1,4})(?:\+[\w.]+)?")
_PNPM_FORMAT: Final = re.compile(r"lockfileVersion: '?(\d)")
_PNPM_OF_FORMAT: Final = {"5": "7", "6": "8", "9": "9"}
_PNPM_STORE: Final = "/root/.pnpm-store"
_YARN_CACHE: Final = "/root/.yarn-cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """A package manager of Node."""

    name: str
    package: str  # what npm installs to have it
    reads: tuple[str, ...]  # files that it needs beside package.json, as far as they are there
    locked: str | None  # the lock file, None when there is none
    install: str
    install_for_run: str  # without what only the build needs
    prune: str
    cache: str  # folder


def find_manager(source: Source, package: dict[str, Any], node_major: int) -> Manager:
    """The one whose lock file is there; `packageManager` decides between several. Raises BuildError."""
    paths = set(source.paths())
    found = [name for name, locks in _LOCKS.items() if locks & paths]
    exact = _EXACT.fullmatch(str(package.get("packageManager", "")))
    named = exact[1] if exact and exact[1] in found else None
    name = named or next(iter(found), "npm")
    if name == "yarn":
        return _yarn(source)
    if name == "pnpm":
        return _pnpm(source, exact[2] if exact and named else None)
    return _npm(next(iter(sorted(_LOCKS["npm"] & paths, reverse=True)), None), node_major)


def npm_package(node_major: int) -> str:
    """The newest npm that runs on a node."""
    return f"npm@{10 if node_major >= 18 else 8}"


def _npm(lock: str | None, node_major: int) -> Manager:
    install = "npm ci" if lock else "npm install --no-package-lock"
    return Manager(
        name="npm",
        package=npm_package(node_major),
        reads=("package-lock.json", "npm-shrinkwrap.json", ".npmrc"),
        locked=lock,
        install=f"{install} --include=dev",
        install_for_run=f"{install} --omit=dev",
        prune="npm prune --omit=dev",
        cache="/root/.npm",
    )


def _yarn(source: Source) -> Manager:
    if "\n__metadata:" in files.head(source, "yarn.lock"):
        raise BuildError(
            "yarn.lock is of yarn 2 or later, which is not supported: "
            "commit the lock file of yarn 1, npm or pnpm, or use a Dockerfile"
        )
    install = f"yarn install --frozen-lockfile --cache-folder {_YARN_CACHE}"
    return Manager(
        name="yarn",
        package="yarn@1",
        reads=("yarn.lock", ".yarnrc", ".npmrc"),
        locked="yarn.lock",
        install=f"{install} --production=false",
        install_for_run=f"{install} --production=true",
        prune=f"{install} --production=true --ignore-scripts --prefer-offline",
        cache=_YARN_CACHE,
    )


def _pnpm(source: Source, exact: str | None) -> Manager:
    written = _PNPM_FORMAT.match(files.head(source, "pnpm-lock.yaml"))
    version = exact or _PNPM_OF_FORMAT.get(written[1] if written else "", "9")
    install = f"pnpm install --frozen-lockfile --store-dir {_PNPM_STORE}"
    return Manager(
        name="pnpm",
        package=f"pnpm@{version}",
        reads=("pnpm-lock.yaml", "pnpm-workspace.yaml", ".npmrc"),
        locked="pnpm-lock.yaml",
        install=f"{install} --prod=false",
        install_for_run=f"{install} --prod",
        prune=f"CI=true npm_config_store_dir={_PNPM_STORE} pnpm prune --prod",
        cache=_PNPM_STORE,
    )
