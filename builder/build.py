"""From a commit to an image: the builder's paragraph."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builder.base.host import proxy_args
from builder.buildpacks import plan_build
from builder.context import context_tar
from builder.image import build_image
from builder.manifest import read_manifest
from builder.model import BuildPlan, Stack
from builder.progress import BuildEvent, EventKind
from builder.shells import has_lines, without_shell
from builder.source import CommitSource
from runtime import names
from runtime.engine.client import Engine
from runtime.engine.inside import SHELL, has_file, unstarted
from runtime.errors import BuildError, NotFound
from runtime.model import AppSpec, Dialect, Image, Language, Manifest
from runtime.names import Handle
from runtime.story import Story

DOCKERFILE: Final = ".lockstep.Dockerfile"  # where our Dockerfile stands in the context
OWN_COMMAND: Final = "the command of the image"
INDENTED: Final = (EventKind.LOG, EventKind.DONE, EventKind.CACHED, EventKind.WARNING)


@dataclass(frozen=True)
class Order:
    """What to build, for whom."""

    instance: str
    app: Handle
    repository: Path
    commit: str
    no_cache: bool
    deadline: float  # seconds for the whole build

    @property
    def cache_scope(self) -> str:
        """What keeps this app's package caches apart from every other's."""
        return f"{self.instance}.{self.app}"


@dataclass(frozen=True)
class Built:
    """What a commit became."""

    image: Image
    spec: AppSpec


async def build_commit(
    engine: Engine, stack: Stack, order: Order, story: Story, heard: Callable[[AppSpec], None] = lambda spec: None
) -> Built:
    """Read the manifest, choose the buildpack, stream the context, build the image.

    `heard` is given the manifest's spec as soon as it was read.
    Raises SourceError, ManifestError, BuildError, DeadlinePassed and EngineError.
    """
    with await asyncio.to_thread(CommitSource, order.repository, order.commit) as source:
        manifest = await asyncio.to_thread(read_manifest, source)
        heard(manifest.spec)
        root = source.below(manifest.spec.build.root)
        _tell_manifest(story, order, manifest, root.warnings)
        plan = await asyncio.to_thread(plan_build, manifest.spec, root, stack, cache_scope=order.cache_scope)
        _tell_plan(story, plan)
        image = await _build_image(engine, order, root, plan, story)
    described = await _described(engine, image, plan, manifest.spec, story)
    return Built(described, await _runnable(engine, order, described, manifest.spec, story))


async def plan_commit(stack: Stack, order: Order, story: Story) -> tuple[AppSpec, BuildPlan]:
    """What `build_commit` would build, without building it. Raises what it raises."""
    with await asyncio.to_thread(CommitSource, order.repository, order.commit) as source:
        manifest = await asyncio.to_thread(read_manifest, source)
        root = source.below(manifest.spec.build.root)
        _tell_manifest(story, order, manifest, root.warnings)
        plan = await asyncio.to_thread(plan_build, manifest.spec, root, stack, cache_scope=order.cache_scope)
    return manifest.spec, plan


def _tell_manifest(story: Story, order: Order, manifest: Manifest, warnings: tuple[str, ...]) -> None:
    found = manifest.spec.dialect
    what = "no manifest" if found is Dialect.NONE else found.value
    story.step(f"Reading commit {order.commit[:7]}: {what}")
    for process in manifest.spec.processes:
        story.detail(f"{process.name}: {process.command or OWN_COMMAND}")
    for job in manifest.spec.crons:
        story.detail(f"{job.name}: {job.schedule}  {job.command}")
    for warning in (*warnings, *manifest.warnings):
        story.trouble(warning)


def _tell_plan(story: Story, plan: BuildPlan) -> None:
    story.step(f"Building with {', '.join(plan.languages)}")
    for line in plan.details:
        story.detail(line)
    for warning in plan.warnings:
        story.trouble(warning)


async def _build_image(engine: Engine, order: Order, source: CommitSource, plan: BuildPlan, story: Story) -> str:
    extra = {**plan.files, DOCKERFILE: plan.dockerfile.encode()}
    return await build_image(
        engine,
        dockerfile_path=DOCKERFILE,
        context=in_thread(context_tar(source, extra)),
        labels=names.labels(order.instance, names.PLATFORM, app=order.app),
        tag=None,  # the release names it
        build_args={**proxy_args(os.environ), **plan.args},
        no_cache=order.no_cache,
        deadline=order.deadline,
        report=lambda event: _tell(story, event),
    )


async def _described(engine: Engine, image: str, plan: BuildPlan, spec: AppSpec, story: Story) -> Image:
    """The image as a release keeps it; says what the pusher should know of how it runs."""
    try:
        found = await engine.get(f"/images/{image}/json")
    except NotFound:
        raise BuildError("the built image is gone from the engine: push again") from None
    own = found["Config"].get("Entrypoint") or found["Config"].get("Cmd")
    web = spec.web
    if web is not None and web.command is None and plan.command is None and not own:
        raise BuildError("web has no command: give one with 'start' in the manifest, or CMD in the Dockerfile")
    if not found["Config"].get("User"):
        story.trouble("the image runs as root: name a user with USER in the Dockerfile")
    if (found["Config"].get("Healthcheck") or {}).get("Test", ["NONE"]) != ["NONE"]:
        story.trouble("HEALTHCHECK of the image is not used: the manifest says how web is asked")
    return Image(
        id=image,
        languages=plan.languages,
        version_wanted=plan.version_wanted,
        version_used=plan.version_used,
        command=plan.command,
        root=spec.build.root,
    )


async def _runnable(engine: Engine, order: Order, image: Image, spec: AppSpec, story: Story) -> AppSpec:
    """The spec, with its commands as this image can run them. Raises BuildError for one that it can not."""
    if Language.DOCKERFILE.value not in image.languages or not has_lines(spec):
        return spec
    name = names.one_off(order.instance, order.app, "shell", secrets.token_hex(4))
    async with unstarted(engine, image.id, name, names.labels(order.instance, names.HOOK, app=order.app)):
        if await has_file(engine, name, SHELL):
            return spec
    story.detail(f"the image has no {SHELL}: commands are run without a shell")
    return without_shell(spec)


def _tell(story: Story, event: BuildEvent) -> None:
    if event.kind is EventKind.FAILED:
        story.trouble(event.text)
    else:
        story.detail(f"  {event.text}" if event.kind in INDENTED else event.text)


async def in_thread(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks, each made in a worker thread so that other pushes and commands go on meanwhile."""
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield chunk
