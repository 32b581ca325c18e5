"""Dockerfile + context → image, by BuildKit through the engine's build API.

The context is streamed as it is made, so its size does not matter. The image gets its name only when
everything has gone well; a build that fails or is cancelled leaves no name and nothing running.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final

from builder.display import short_reason
from builder.progress import BuildEvent, BuildStory, FailedStep
from runtime.engine.client import Engine
from runtime.errors import BuildError, DeadlinePassed, EngineError, NotFound

TRACE: Final = "moby.buildkit.trace"
IMAGE: Final = "moby.image.id"
TAR: Final = {"Content-Type": "application/x-tar"}
CANCEL_DEADLINE: Final = 10.0  # seconds for the engine to take a cancellation
KILLED: Final = 137  # the exit code of a process that got SIGKILL
_BASE_IMAGE: Final = re.compile(r"\[internal\] load metadata for (\S+)")
_IMAGE_ID: Final = re.compile(r"sha256:[0-9a-f]{64}")

Report = Callable[[BuildEvent], None]


class StepFailed(BuildError):
    """A step of the Dockerfile failed; the message names it and its exit code."""

    def __init__(self, message: str, step: FailedStep) -> None:
        super().__init__(message)
        self.step = step.step
        self.status = step.exit_code  # of the command, None when it was not a command that failed
        self.log_tail = step.log_tail  # the last lines that the step wrote


@dataclass(frozen=True, slots=True)
class _Wish:
    engine: Engine
    build_id: str
    params: dict[str, Any]
    story: BuildStory
    report: Report


async def build_image(
    engine: Engine,
    *,
    dockerfile_path: str,
    context: AsyncIterator[bytes],
    labels: dict[str, str],
    tag: str | None,
    build_args: dict[str, str],
    no_cache: bool,
    deadline: float,
    report: Report,
    story: BuildStory | None = None,
) -> str:
    """Build the image of a context (an uncompressed tar) and give its id, `sha256:…`.

    `tag` is put on it when all is done; `deadline` is in seconds for everything; `report` gets the
    lines of the story as they happen; a `story` given can be asked for its totals afterwards.
    Cancelling the task stops the build in the engine before the cancellation goes on.

    Raises StepFailed or another BuildError, DeadlinePassed, EngineError, and what `context` raises.
    """
    build_id = secrets.token_hex(16)
    params = {
        "version": 2,
        "buildid": build_id,
        "dockerfile": dockerfile_path,
        "labels": labels,
        "buildargs": build_args,
        "nocache": no_cache,
    }
    wish = _Wish(engine, build_id, params, story or BuildStory(), report)
    try:
        async with asyncio.timeout(deadline) as limit:
            image = await _build(wish, context)
            await _name(engine, image, tag)
    except TimeoutError:
        if limit.expired():
            raise DeadlinePassed("the image build", deadline) from None
        raise
    return image


async def _build(wish: _Wish, context: AsyncIterator[bytes]) -> str:
    """Run the build and give the image's id; whatever ends it early also ends it in the engine."""
    body = _Body(context)
    try:
        image = await _follow(wish, body)
    except BaseException as error:
        await _stop(wish)
        if body.error is not None and isinstance(error, EngineError | BuildError):
            raise body.error from None
        raise
    if image is None:
        raise BuildError("the engine ended the build without an image: push again, and see the engine's log")
    return image


async def _follow(wish: _Wish, body: _Body) -> str | None:
    image = None
    answer = wish.engine.lines("POST", "/build", data=body.chunks(), headers=TAR, **wish.params)
    # closing the connection now, and not at some garbage collection, already stops most builds
    async with aclosing(answer) as lines:
        async for line in lines:
            if "errorDetail" in line or "error" in line:
                raise _failure(wish.story, line)
            if line.get("id") == TRACE:
                _tell(wish, line.get("aux"))
            elif line.get("id") == IMAGE:
                image = _image_id(line.get("aux"))
    return image


def _tell(wish: _Wish, aux: object) -> None:
    try:
        payload = base64.b64decode(aux if isinstance(aux, str) else "", validate=True)
    except binascii.Error:
        raise EngineError("the engine's build progress is not understood: use Docker 20.10 or newer") from None
    for event in wish.story.feed(payload):
        wish.report(event)


def _image_id(aux: object) -> str | None:
    found = aux.get("ID") if isinstance(aux, dict) else None
    return found if isinstance(found, str) and _IMAGE_ID.fullmatch(found) else None


async def _stop(wish: _Wish) -> None:
    """End the build in the engine; an unknown or ended build is no error there."""
    cancel = asyncio.ensure_future(wish.engine.post("/build/cancel", id=wish.build_id))
    try:
        await asyncio.wait({cancel}, timeout=CANCEL_DEADLINE)
    finally:
        cancel.cancel()
        if cancel.done() and not cancel.cancelled():
            cancel.exception()  # an engine that is gone has stopped the build as well


async def _name(engine: Engine, image: str, tag: str | None) -> None:
    """Prove that the image is there, and name it."""
    try:
        found = await engine.get(f"/images/{image}/json")
    except NotFound:
        raise BuildError(f"the built image {image[:19]} is not in the engine: push again") from None
    if found["Id"] != image:
        raise BuildError(f"the engine has {found['Id'][:19]} where it built {image[:19]}: push again")
    if tag is None:
        return
    repository, _, name = tag.rpartition(":")
    try:
        await engine.post(f"/images/{image}/tag", repo=repository, tag=name)
    except asyncio.CancelledError:
        with suppress(EngineError):
            await engine.delete(f"/images/{tag}")
        raise


def _failure(story: BuildStory, line: dict[str, Any]) -> BuildError:
    step = story.failed
    if step is not None:
        return StepFailed(_sentence(step), step)
    detail = line.get("errorDetail")
    message = str(detail.get("message", "") if isinstance(detail, dict) else line.get("error", ""))
    return BuildError(f"the image can't be built: {short_reason(message) or 'the engine gave no reason'}")


def _sentence(step: FailedStep) -> str:
    missing = _BASE_IMAGE.fullmatch(step.step)
    if missing:
        return (
            f"the base image {missing[1]} is not in the engine and can't be pulled: "
            f"correct the FROM line ({short_reason(step.error)})"
        )
    if step.exit_code == KILLED:
        return f"step {step.step} was killed (exit code {KILLED}), most likely for want of memory: give it less to do"
    if step.exit_code is not None:
        return (
            f"step {step.step} ended with exit code {step.exit_code}: see its output above, correct it and push again"
        )
    return f"step {step.step} failed: {short_reason(step.error)}"


class _Body:
    """The context on its way to the engine; keeps the error that broke it, which the HTTP client hides."""

    def __init__(self, context: AsyncIterator[bytes]) -> None:
        self._context = context
        self.error: Exception | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._context:
                yield chunk
        except Exception as error:
            self.error = error
            raise
