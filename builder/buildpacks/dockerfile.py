"""The app's own Dockerfile, as it is."""

from __future__ import annotations

from builder.buildpacks import files
from builder.model import BuildPlan, Source
from runtime.errors import BuildError
from runtime.model import AppSpec

NAME = "Dockerfile"


def dockerfile_plan(spec: AppSpec, source: Source) -> BuildPlan:
    """The plan of an app that brings its Dockerfile. Raises BuildError when the file is not there."""
    path = spec.build.dockerfile or NAME
    parts = path.split("/")
    if path.startswith("/") or not all(parts) or "." in parts or ".." in parts:
        raise BuildError(f"'{path[:200]}' is not a path inside of the commit: name the Dockerfile by one")
    content = files.text(source, path)
    if content is None:
        raise BuildError(f"there is no {path[:200]} in the commit: commit it, or correct its name in the manifest")
    unused = len(spec.build.steps)
    return BuildPlan(
        dockerfile=content,
        languages=("dockerfile",),
        args={var.name: var.value for var in spec.build.env},
        details=(f"dockerfile: {path}",),
        warnings=(f"{unused} build step(s) of the manifest are not run: {path} says how to build",) if unused else (),
    )
