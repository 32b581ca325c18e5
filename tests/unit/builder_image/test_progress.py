"""Progress messages recorded from an engine (20.10.24), and made ones, told as lines for the pusher."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from builder.progress import TAIL, BuildEvent, BuildStory, EventKind
from builder.trace import Output, Trace, Vertex, decode_trace, encode_trace
from runtime.errors import EngineError

RECORDED = Path(__file__).parent / "recorded"
LONG_RUN = """RUN for i in 1 2 3; do echo "line $i"; sleep 0.2; done; printf 'half'; sleep 0.2; printf ' whole\\np…"""


def told(name: str) -> tuple[BuildStory, list[BuildEvent]]:
    """The story of the build recorded as `name`."""
    story = BuildStory()
    payloads = json.loads((RECORDED / f"{name}.json").read_text())
    return story, [event for payload in payloads for event in story.feed(base64.b64decode(payload))]


def texts(events: list[BuildEvent]) -> list[str]:
    return [event.text for event in events]


def test_a_build_is_told_step_by_step_with_its_output() -> None:
    story, events = told("plain")
    assert texts(events) == [
        "[1/3] FROM lockstep/run:latest",
        "[2/3] COPY a.txt /app/b.txt",
        "[2/3] done in 0.1 s",
        f"[3/3] {LONG_RUN}",
        "  line 1",
        "  line 2",
        "  line 3",
        "  half whole",
        "  progress 2",
        "  \x1b[31mred\x1b[0m xy",
        "  err",
        "[3/3] done in 1.0 s",
    ]
    assert (story.steps, story.cached, story.failed) == (2, 0, None)
    assert story.stages[""] == pytest.approx(1.1, abs=0.1)


def test_steps_that_were_there_already_are_marked() -> None:
    story, events = told("cached")
    assert texts(events) == [
        "[1/3] FROM lockstep/run:latest",
        "[2/3] CACHED COPY a.txt /app/b.txt",
        f"[3/3] CACHED {LONG_RUN}",
    ]
    assert [event.kind for event in events[1:]] == [EventKind.CACHED] * 2
    assert (story.steps, story.cached) == (2, 2)


def test_output_of_stages_that_run_together_says_whose_it_is() -> None:
    story, events = told("stages")
    assert "  [one 2/2] one 1" in texts(events)
    assert "  [two 2/2] two 3" in texts(events)
    assert sum(text.endswith("FROM lockstep/run:latest") for text in texts(events)) == 1
    assert set(story.stages) == {"one", "two", "stage-2"}
    assert story.steps == 4


def test_a_failed_step_is_named_with_its_exit_code_and_last_lines() -> None:
    story, events = told("failed")
    assert texts(events)[-3:] == ["  about to fail", "  reason", "[2/3] failed after 0.2 s: exit code 3"]
    assert story.failed is not None
    assert story.failed.step == "[2/3] RUN echo about to fail; echo reason >&2; exit 3"
    assert story.failed.exit_code == 3
    assert story.failed.log_tail == ("about to fail", "reason")


def test_a_file_that_is_not_there_fails_without_an_exit_code() -> None:
    story, events = told("missing")
    assert texts(events)[-1] == '[2/2] failed: "/nothing.txt" not found: not found'
    assert story.failed is not None
    assert story.failed.exit_code is None


def test_buildkits_own_steps_are_hidden_until_they_fail() -> None:
    story, events = told("nobase")
    assert len(events) == 1
    assert events[0].text.startswith("[internal] load metadata for lockstep/nonesuch:latest failed: ")
    assert story.steps == 0


def test_what_was_cancelled_because_another_step_failed_is_not_the_failure() -> None:
    story = BuildStory()
    story.tell(
        Trace(
            (
                Vertex("a", "[one 2/2] RUN a", started=1.0, completed=2.0, error="… : context canceled"),
                Vertex("b", "[two 2/2] RUN b", started=1.0, completed=2.0, error="… exit code: 4"),
            )
        )
    )
    assert story.failed is not None
    assert story.failed.step == "[two 2/2] RUN b"


def test_a_step_that_ends_with_half_a_line_still_shows_it() -> None:
    story = BuildStory()
    vertex = Vertex("a", "[2/2] RUN printf half", started=1.0)
    assert texts(story.tell(Trace((vertex,)))) == ["[2/2] RUN printf half"]
    assert story.tell(Trace(outputs=(Output("a", 1, b"ha"), Output("a", 2, b"oth"), Output("a", 1, b"lf")))) == []
    done = Vertex("a", vertex.name, started=1.0, completed=1.05)
    assert texts(story.tell(Trace((done,)))) == ["  half", "  oth"]


def test_a_slow_export_of_the_image_is_mentioned() -> None:
    story = BuildStory()
    slow = Vertex("x", "exporting to image", started=1.0, completed=3.5)
    assert texts(story.tell(Trace((slow,)))) == ["image written in 2.5 s"]


def test_the_kept_output_of_a_step_is_bounded() -> None:
    story = BuildStory()
    story.tell(Trace((Vertex("a", "[2/2] RUN yes", started=1.0),), (Output("a", 1, b"y\n" * 500),)))
    story.tell(Trace((Vertex("a", "[2/2] RUN yes", started=1.0, completed=2.0, error="exit code: 1"),)))
    assert story.failed is not None
    assert story.failed.log_tail == ("y",) * TAIL


def test_output_of_an_unknown_step_and_warnings_do_no_harm() -> None:
    trace = Trace(outputs=(Output("nobody", 1, b"hello\n"),), warnings=("old \x1b[2Jsyntax",))
    assert BuildStory().tell(trace) == [BuildEvent(EventKind.WARNING, "warning: old syntax")]


def test_a_trace_reads_back_as_it_was_written() -> None:
    trace = Trace(
        (Vertex("sha256:a", "[1/2] RUN x", True, 12.25, 13.5, "no"), Vertex("sha256:b", "b")),
        (Output("sha256:a", 2, b"\xff\n"),),
        ("careful",),
    )
    assert decode_trace(encode_trace(trace)) == trace


def test_bytes_that_are_no_progress_are_refused() -> None:
    with pytest.raises(EngineError, match="build progress is not understood"):
        decode_trace(b"\xff\xff\xff")
