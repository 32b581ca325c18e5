"""Node: the runtime from npm's `node` package, the dependencies by the app's own package manager."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from builder import dockerfile
from builder.buildpacks import files
from builder.buildpacks.node_manager import Manager, find_manager, npm_package
from builder.buildpacks.node_version import NodeWish, node_wish
from builder.buildpacks.part import APP, Part
from builder.dockerfile import Cache, Instruction, Run
from builder.model import Source

RUNTIME: Final = "/opt/node-runtime"
PACKAGE: Final = "package.json"
_BIN: Final = f"{RUNTIME}/node_modules/.bin"
_MODULES: Final = f"{APP}/node_modules"
# scripts that run while dependencies are installed, and that may need any file of the app
_INSTALL_SCRIPTS: Final = ("preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare")
_BUILD_SCRIPTS: Final = ("heroku-postbuild", "build")
_DEPENDENCIES: Final = ("dependencies", "devDependencies", "optionalDependencies")
_LOCAL: Final = ("file:", "link:", "workspace:", "portal:", "./", "../", "/", "~/")
_QUIET: Final = {"NPM_CONFIG_AUDIT": "false", "NPM_CONFIG_FUND": "false", "NPM_CONFIG_UPDATE_NOTIFIER": "false"}
# a NODE_ENV in the manifest must not take the build's own tools away from the manifest's steps
_FOR_STEPS: Final = {"NPM_CONFIG_INCLUDE": "dev"}


def node_part(source: Source, scope: str, *, steps: bool, prune: bool) -> Part:
    """The Node of an app. Raises BuildError.

    With `steps` the manifest's own steps do the building. `prune` takes what only the build needs away again.
    """
    package = files.json_object(source, PACKAGE)
    wish = node_wish(source, package)
    manager = find_manager(source, package, wish.major) if PACKAGE in source.paths() else None
    part = Part(
        language=f"node {wish.range}",
        tools=_tools(wish, manager, {**_QUIET, **(_FOR_STEPS if steps else {})}),
        products=(RUNTIME,),
        run=(dockerfile.path(f"{_MODULES}/.bin", _BIN), dockerfile.env({"NODE_ENV": "production", **_QUIET})),
        command=default_command(source),
        version_wanted=wish.text,
        details=(_version_detail(wish),),
    )
    if manager is None:
        return part
    cache = dockerfile.cache(scope, manager.name, manager.cache)
    script = None if steps else build_script(package)
    part = _with_dependencies(part, source, package, manager, cache, for_build=bool(steps or script))
    return _with_build(part, script, Run(manager.prune, cache) if prune else None) if script else part


def default_command(source: Source) -> tuple[str, ...] | None:
    """The web command that the app's files name, None when they name none."""
    if "start" in scripts(files.json_object(source, PACKAGE)):
        return ("npm", "start")
    return ("node", "server.js") if "server.js" in source.paths() else None


def scripts(package: dict[str, Any]) -> dict[str, Any]:
    """The scripts of package.json by name."""
    return files.table(package, "scripts")


def build_script(package: dict[str, Any]) -> str | None:
    """The name of the script that builds the app."""
    return next((name for name in _BUILD_SCRIPTS if name in scripts(package)), None)


def _tools(wish: NodeWish, manager: Manager | None, settings: dict[str, str]) -> tuple[Instruction, ...]:
    """The build stack's npm fetches the node and the package manager that the app asks for."""
    packages = dict.fromkeys((f"node@{wish.range}", npm_package(wish.major), *([manager.package] if manager else [])))
    fetch = (
        f"npm install --prefix {RUNTIME} --no-audit --no-fund --no-update-notifier --cache /tmp/npm {_words(packages)}"
    )
    # the package has its program twice, as one file with two names, which a COPY would make two
    slim = f"rm -rf /tmp/npm {RUNTIME}/node_modules/node/node_modules"
    return Run(f"{fetch} && {slim} && {_BIN}/node --version"), dockerfile.path(_BIN), dockerfile.env(settings)


def _words(packages: Iterable[str]) -> str:
    return " ".join(shlex.quote(name) for name in packages)


def _with_dependencies(
    part: Part, source: Source, package: dict[str, Any], manager: Manager, cache: Cache, *, for_build: bool
) -> Part:
    local = _local(source, package)
    install = manager.install if for_build else manager.install_for_run
    return replace(
        part,
        wants=tuple(path for path in (PACKAGE, *manager.reads) if path in source.paths()),
        # npm makes no folder when there is nothing to put into it, and the run stage copies it
        install=(Run(f"{install} && mkdir -p node_modules", cache),),
        source_first=local is not None,
        modules=_MODULES,
        details=(*part.details, *_details(manager, local)),
        warnings=(*part.warnings, *_warnings(source, manager)),
    )


def _with_build(part: Part, script: str, prune: Run | None) -> Part:
    return replace(
        part,
        after=(Run(f"NODE_ENV=production npm run {script}"), *([prune] if prune else [])),
        details=(*part.details, f"node: built by the '{script}' script of {PACKAGE}"),
    )


def _version_detail(wish: NodeWish) -> str:
    asked = f"{wish.where} asks for '{wish.text[:60]}'" if wish.text else "no version asked for"
    return f"node {wish.range}: {asked}"


def _local(source: Source, package: dict[str, Any]) -> str | None:
    """What makes installing need the whole source, None when package.json and the lock file are enough."""
    script = next((name for name in _INSTALL_SCRIPTS if name in scripts(package)), None)
    if script is not None:
        return f"the '{script}' script"
    if "workspaces" in package or "pnpm-workspace.yaml" in source.paths():
        return "workspaces"
    if "patchedDependencies" in files.table(package, "pnpm"):
        return "patched dependencies"
    wanted = {name: spec for kind in _DEPENDENCIES for name, spec in files.table(package, kind).items()}
    return next((f"'{name[:60]}'" for name, spec in wanted.items() if str(spec).startswith(_LOCAL)), None)


def _details(manager: Manager, local: str | None) -> tuple[str, ...]:
    first = (f"node: the source comes first, for {local}",) if local else ()
    return (f"node: {manager.locked or PACKAGE}, installed with {manager.package}", *first)


def _warnings(source: Source, manager: Manager) -> tuple[str, ...]:
    found = []
    if manager.locked is None:
        found.append(
            f"there is no lock file beside {PACKAGE}: the versions of dependencies may change from build to build"
        )
    if any(path.startswith("node_modules/") for path in source.paths()):
        found.append("node_modules is committed and mixes with what is installed: remove it from the commit")
    return tuple(found)
