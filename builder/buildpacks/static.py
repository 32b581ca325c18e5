"""Static sites: a folder of the commit, or one that a build makes, served by the stack's web server."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from builder import dockerfile
from builder.buildpacks.node import PACKAGE
from builder.buildpacks.part import APP, BUILD_STAGE, Part, build_stage, build_warnings, needs_source
from builder.buildpacks.site import ROOT, site_config
from builder.dockerfile import OURS, Instruction, Run
from builder.model import BuildPlan, Source, Stack
from runtime.errors import BuildError
from runtime.model import AppSpec

FOLDERS: Final = ("dist", "build", "public", "out", "_site")  # where a site is looked for, the first that is there
INDEX: Final = "index.html"
PORT: Final = 8080  # when nobody says another one
CONFIG: Final = f"{OURS}/site.json"
COMMAND: Final = ("caddy", "run", "--config", "/etc/lockstep/site.json")
_STATE: Final = {"XDG_DATA_HOME": "/tmp", "XDG_CONFIG_HOME": "/tmp"}  # noqa: S108 - a container's own


def site_folder(source: Source) -> str | None:
    """The folder of the commit that has a site, "" for its root, None when there is none."""
    paths = set(source.paths())
    return next((folder for folder in (*FOLDERS, "") if f"{folder}/{INDEX}".lstrip("/") in paths), None)


def static_plan(spec: AppSpec, source: Source, stack: Stack, parts: Sequence[Part]) -> BuildPlan:
    """The plan of a static site; `parts` are the languages that build it. Raises BuildError."""
    built = needs_source(parts, spec.build)
    folder = None if built else _committed(spec, source)
    stages = _built(spec, source, stack, parts) if built else []
    makers = parts if built else ()
    return BuildPlan(
        dockerfile=dockerfile.text([*stages, *_served(spec, stack, folder)]),
        files={CONFIG: site_config(spec.build.static)} | {k: v for part in makers for k, v in part.files.items()},
        languages=("static", *(part.language for part in makers)),
        version_wanted=next((part.version_wanted for part in makers), None),
        command=COMMAND,
        details=(_detail(spec, folder), *(line for part in makers for line in part.details)),
        warnings=(*build_warnings(spec.build), *(line for part in makers for line in part.warnings)),
    )


def _committed(spec: AppSpec, source: Source) -> str:
    wanted = spec.build.static.folder
    if wanted is None:
        found = site_folder(source)
        if found is None:
            raise BuildError(f"there is no {INDEX} in {', '.join(FOLDERS)} or the root: commit one, or name its folder")
        return found
    folder = _checked(wanted)
    if folder and not any(path.startswith(f"{folder}/") for path in source.paths()):
        raise BuildError(f"the site's folder '{folder}' is not in the commit: commit it, or make it in a build step")
    return folder


def _checked(folder: str) -> str:
    clean = "/".join(part for part in folder.split("/") if part not in ("", "."))
    if clean and not dockerfile.is_plain_path(clean):
        raise BuildError(f"'{folder[:200]}' can't be the site's folder: use letters, digits and '_ . @ + -', no '..'")
    return clean


def _built(spec: AppSpec, source: Source, stack: Stack, parts: Sequence[Part]) -> list[Instruction]:
    return [*build_stage(parts, spec.build, stack), Run(_pick_script(spec, source), hostile=True), ""]


def _pick_script(spec: AppSpec, source: Source) -> str:
    """Copies the site to ROOT. A folder that the build made goes before one that was committed."""
    wanted = spec.build.static.folder
    if wanted is not None:
        candidates = [_checked(wanted) or "."]
    else:
        committed = {path.partition("/")[0] for path in source.paths()}
        candidates = [*sorted(FOLDERS, key=lambda folder: folder in committed), "."]
    holds = f'-f "$folder/{INDEX}"' if wanted is None else '-d "$folder"'
    take = f'rm -rf {APP}/node_modules && echo "the site is in $folder" && exec cp -a "$folder/." {ROOT}'
    missing = shlex.quote(f"the build made no site: looked for {INDEX} in {', '.join(candidates)}")
    return (
        f"for folder in {shlex.join(candidates)}; do if [ {holds} ]; then {take}; fi; done; echo {missing} >&2; exit 1"
    )


def _served(spec: AppSpec, stack: Stack, folder: str | None) -> list[Instruction]:
    """The stage that serves; the source is in it as well when something else than web runs."""
    lines: list[Instruction] = [
        dockerfile.from_(stack.static),
        f"WORKDIR {APP}",
        dockerfile.copy([CONFIG], COMMAND[-1]),
    ]
    if folder is None:
        lines.append(dockerfile.copy([ROOT], ROOT, stage=BUILD_STAGE))
    else:
        lines.append(dockerfile.copy([f"{folder or '.'}/"], f"{ROOT}/"))
    if spec.crons or spec.hooks or spec.workers:
        lines.append(dockerfile.copy(["."], APP, owner=stack.user))
    port = (spec.web.port if spec.web else None) or PORT
    lines += [dockerfile.env({"PORT": str(port), **_STATE}), f"USER {stack.user}", dockerfile.command(COMMAND)]
    return lines


def _detail(spec: AppSpec, folder: str | None) -> str:
    if folder is not None:
        return f"static: {folder or 'the root'}"
    return "static: made by the build steps" if spec.build.steps else f"static: made by the build script of {PACKAGE}"
