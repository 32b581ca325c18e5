"""`build_image` against a small server that speaks the engine's build API: what can go wrong on the way."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from builder.image import StepFailed, build_image
from builder.progress import BuildEvent, BuildStory
from builder.trace import Output, Trace, Vertex, encode_trace
from runtime.engine.client import Engine
from runtime.errors import BuildError, DeadlinePassed, EngineError, EngineUnreachable, LockstepError, SourceError
from tests.unit.builder_image.fake import DONE, IMAGE, FakeEngine, engine_with


async def once(data: bytes = b"tar") -> AsyncIterator[bytes]:
    yield data


async def build(engine: Engine, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "dockerfile_path": "Dockerfile",
        "context": once(),
        "labels": {"a": "b"},
        "tag": "test/app:v1",
        "build_args": {"HTTP_PROXY": "http://p"},
        "no_cache": False,
        "deadline": 10.0,
        "report": lambda event: None,
    }
    return await build_image(engine, **{**arguments, **changes})


async def failing(folder: Path, fake: FakeEngine, kind: type[LockstepError], **changes: Any) -> LockstepError:
    async with engine_with(folder, fake.answer) as engine:
        with pytest.raises(kind) as caught:
            await build(engine, **changes)
    assert not any(asked.endswith("/tag") for asked in fake.asked)
    return caught.value


def trace(*vertices: Vertex, output: bytes = b"") -> dict[str, Any]:
    outputs = (Output(vertices[0].digest, 1, output),) if output else ()
    return {"id": "moby.buildkit.trace", "aux": base64.b64encode(encode_trace(Trace(vertices, outputs))).decode()}


STARTED = Vertex("a", "[2/2] RUN make", started=1.0)
BROKEN = Vertex("a", "[2/2] RUN make", started=1.0, completed=2.0, error="executor failed: exit code: 2")


async def test_the_build_is_asked_for_told_proved_and_named(tmp_path: Path) -> None:
    done = Vertex("a", "[2/2] RUN make", started=1.0, completed=2.0)
    fake = FakeEngine([trace(STARTED, output=b"hello\n"), trace(done), DONE])
    events: list[BuildEvent] = []
    story = BuildStory()
    async with engine_with(tmp_path, fake.answer) as engine:
        assert await build(engine, report=events.append, story=story, no_cache=True) == IMAGE
    assert [event.text for event in events] == ["[2/2] RUN make", "  hello", "[2/2] done in 1.0 s"]
    assert story.steps == 1
    assert fake.body == b"tar"
    assert fake.asked[1:] == ["POST /build", f"GET /images/{IMAGE}/json", f"POST /images/{IMAGE}/tag"]
    assert len(fake.query.pop("buildid")) == 32
    assert fake.query == {
        "version": "2",
        "dockerfile": "Dockerfile",
        "labels": '{"a": "b"}',
        "buildargs": '{"HTTP_PROXY": "http://p"}',
        "nocache": "true",
    }


async def test_a_failed_step_is_named_with_its_exit_code_and_log(tmp_path: Path) -> None:
    fake = FakeEngine([trace(STARTED, output=b"no rule\n"), trace(BROKEN), {"errorDetail": {"message": "x"}}])
    error = await failing(tmp_path, fake, StepFailed)
    assert isinstance(error, StepFailed)
    assert str(error) == "step [2/2] RUN make ended with exit code 2: see its output above, correct it and push again"
    assert (error.step, error.status, error.log_tail) == ("[2/2] RUN make", 2, ("no rule",))


async def test_a_killed_step_hints_at_memory(tmp_path: Path) -> None:
    killed = Vertex("a", "[2/2] RUN make", started=1.0, completed=2.0, error="exit code: 137")
    error = await failing(tmp_path, FakeEngine([trace(killed), {"error": "x"}]), StepFailed)
    assert "want of memory" in str(error)


async def test_a_base_image_that_can_not_be_had_is_named(tmp_path: Path) -> None:
    name = "[internal] load metadata for docker.io/acme/nonesuch:1"
    lost = Vertex("a", name, started=1.0, completed=2.0, error="no such host")
    error = await failing(tmp_path, FakeEngine([trace(lost), {"error": "x"}]), StepFailed)
    assert str(error) == (
        "the base image acme/nonesuch:1 is not in the engine and can't be pulled: correct the FROM line (no such host)"
    )


async def test_a_dockerfile_that_can_not_be_read_is_explained(tmp_path: Path) -> None:
    message = "failed to solve with frontend dockerfile.v0: failed to create LLB definition: no build stage"
    error = await failing(tmp_path, FakeEngine([{"errorDetail": {"message": message}}]), BuildError)
    assert str(error) == "the image can't be built: no build stage"


async def test_an_answer_without_an_image_is_a_failure(tmp_path: Path) -> None:
    error = await failing(tmp_path, FakeEngine([]), BuildError)
    assert "without an image" in str(error)


async def test_an_image_that_is_not_there_is_not_believed(tmp_path: Path) -> None:
    error = await failing(tmp_path, FakeEngine([DONE], image="sha256:other"), BuildError)
    assert "is not in the engine" in str(error)


async def test_progress_that_is_not_understood_is_said(tmp_path: Path) -> None:
    fake = FakeEngine([{"id": "moby.buildkit.trace", "aux": "%%%"}])
    error = await failing(tmp_path, fake, EngineError)
    assert "not understood" in str(error)
    assert "POST /build/cancel" in fake.asked


async def test_the_deadline_stops_the_build_in_the_engine(tmp_path: Path) -> None:
    fake = FakeEngine([trace(STARTED)], hang=True)
    error = await failing(tmp_path, fake, DeadlinePassed, deadline=0.2)
    assert str(error) == "the image build did not happen within 0.2 s"
    assert "POST /build/cancel" in fake.asked


async def test_a_cancelled_task_stops_the_build_in_the_engine(tmp_path: Path) -> None:
    fake = FakeEngine([trace(STARTED)], hang=True)
    running = asyncio.Event()
    async with engine_with(tmp_path, fake.answer) as engine:
        task = asyncio.create_task(build(engine, report=lambda event: running.set()))
        await asyncio.wait_for(running.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert fake.asked[-1] == "POST /build/cancel"


async def test_an_error_of_the_context_is_the_error_of_the_build(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise SourceError("the commit holds a path out of it")

    error = await failing(tmp_path, FakeEngine([DONE]), SourceError, context=broken())
    assert str(error) == "the commit holds a path out of it"


async def test_an_engine_that_dies_is_said(tmp_path: Path) -> None:
    async def dying(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/version"):
            return web.json_response({"ApiVersion": "1.41"})
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async with engine_with(tmp_path, dying) as engine:
        with pytest.raises(EngineUnreachable):
            await build(engine)
