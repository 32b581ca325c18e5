"""How the image of a commit is made: which languages, and what each adds."""

from __future__ import annotations

from builder import dockerfile
from builder.buildpacks import files
from builder.buildpacks.detect import Found, detect
from builder.buildpacks.dockerfile import dockerfile_plan
from builder.buildpacks.node import PACKAGE, build_script, node_part
from builder.buildpacks.part import Part, build_stage, build_warnings, run_stage
from builder.buildpacks.python import python_part
from builder.buildpacks.static import static_plan
from builder.ignore import Visible, ignore_rules
from builder.model import BuildPlan, Source, Stack
from runtime.errors import BuildError
from runtime.model import AppSpec, Language


def plan_build(spec: AppSpec, source: Source, stack: Stack, cache_scope: str) -> BuildPlan:
    """How the image of a commit is made: text and files, nothing is run.

    `source` is what the build context is made of, so it is seen from `spec.build.root` already.
    `cache_scope` keeps the build caches of one app from those of others. Raises BuildError or SourceError.
    """
    rules = ignore_rules(source)
    visible = Visible(source, rules)
    found = Found(spec.build.languages) if spec.build.languages else detect(spec, visible)
    if spec.build.dockerfile or Language.DOCKERFILE in found.languages:
        plan = dockerfile_plan(spec, source)
    elif Language.STATIC in found.languages:
        builders = _site_builders(spec, found, visible)
        plan = static_plan(spec, visible, stack, _parts(builders, spec, visible, stack, cache_scope))
    else:
        plan = _process_plan(spec, stack, _parts(found.languages, spec, visible, stack, cache_scope))
    details = dict.fromkeys((*found.details, *plan.details))
    return plan.model_copy(update={"details": tuple(details), "warnings": (*rules.warnings, *plan.warnings)})


def _site_builders(spec: AppSpec, found: Found, source: Source) -> tuple[Language, ...]:
    """The languages that make a static site: those that stand beside it, and Node where it has something to do."""
    others = tuple(language for language in found.languages if language is not Language.STATIC)
    node = PACKAGE in source.paths() and (spec.build.steps or build_script(files.json_object(source, PACKAGE)))
    return (Language.STATIC, *(others or ((Language.NODE,) if node else ())))


def _parts(languages: tuple[Language, ...], spec: AppSpec, source: Source, stack: Stack, scope: str) -> list[Part]:
    """The parts in the order of their layers: Node's runtime first, because all apps can share it."""
    parts = []
    site = Language.STATIC in languages
    if Language.NODE in languages:
        parts.append(node_part(source, scope, steps=bool(spec.build.steps), prune=not site))
    if Language.PYTHON in languages:
        parts.append(python_part(source, stack, scope))
    return parts


def _process_plan(spec: AppSpec, stack: Stack, parts: list[Part]) -> BuildPlan:
    """The plan of an app whose processes run on Python, Node or both; Python comes first where both are told of."""
    command = _command(spec, parts)
    stages = [*build_stage(parts, spec.build, stack), *run_stage(parts, spec.build, stack, command)]
    told = parts[::-1]
    return BuildPlan(
        dockerfile=dockerfile.text(stages),
        files={path: content for part in parts for path, content in part.files.items()},
        languages=tuple(part.language for part in told),
        version_wanted=told[0].version_wanted,
        version_used=told[0].version_used,
        command=command,
        details=(*(line for part in told for line in part.details), *_default_detail(spec, command)),
        warnings=(*build_warnings(spec.build), *(line for part in told for line in part.warnings)),
    )


def _default_detail(spec: AppSpec, command: tuple[str, ...] | None) -> tuple[str, ...]:
    if command is None or spec.web is None or spec.web.command is not None:
        return ()
    return (f"web: '{' '.join(command)}', as the manifest names no command",)


def _command(spec: AppSpec, parts: list[Part]) -> tuple[str, ...] | None:
    """What the image does by itself. Raises BuildError when web needs it and nothing names it."""
    found = next((part.command for part in parts if part.command), None)
    if found is None and spec.web is not None and spec.web.command is None:
        raise BuildError(
            "no command for web: add a Procfile with a line 'web: COMMAND', or name the command in the manifest"
        )
    return found
