"""The story of one build: BuildKit's progress messages in, lines for the pusher out. No clock, no I/O."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from builder.display import LineCutter, short_instruction, short_reason
from builder.trace import Output, Trace, Vertex, decode_trace
from runtime.text import printable

TAIL: Final = 40  # lines of a step's output that are kept for its failure
WORTH_SAYING: Final = 0.1  # seconds; shorter steps are not timed in the story
SLOW_EXPORT: Final = 1.0  # seconds; only an export of the image that takes longer is mentioned

_STEP: Final = re.compile(r"\[(?:(?P<stage>[^\]\s]+)\s+)?(?P<number>\d+)/(?P<total>\d+)\]\s+(?P<what>.*)", re.DOTALL)
_EXIT_CODE: Final = re.compile(r"exit code: (\d+)")
_CANCELLED: Final = "context canceled"


class EventKind(StrEnum):
    """What a line of the story is about."""

    STEP = "step"  # a step began
    LOG = "log"  # a line of its output
    DONE = "done"  # it took long enough to say how long
    CACHED = "cached"  # its result was there already
    FAILED = "failed"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class BuildEvent:
    """One line of the story, ready to be printed."""

    kind: EventKind
    text: str
    step: str = ""  # "[2/5]" or "[assets 2/5]", empty when no step is meant


@dataclass(frozen=True, slots=True)
class FailedStep:
    """The step that ended the build."""

    step: str  # "[2/5] RUN pip install -r requirements.txt", or the name of BuildKit's own step
    error: str  # the engine's words
    exit_code: int | None  # of the command, None when it was not a command that failed
    log_tail: tuple[str, ...]  # its last TAIL lines


@dataclass(slots=True)
class _Step:
    vertex: Vertex
    label: str  # empty: one of BuildKit's own steps, hidden unless it fails
    what: str
    stage: str
    announced: bool = False
    ended: bool = False
    cutters: dict[int, LineCutter] = field(default_factory=dict)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL))

    @property
    def title(self) -> str:
        return f"{self.label} {self.what}".strip()

    @property
    def works(self) -> bool:
        """Whether it is a step that makes something: FROM does not, and the engine calls it cached at random."""
        return bool(self.label) and not self.what.startswith("FROM ")

    @property
    def running(self) -> bool:
        return self.announced and not self.ended

    @property
    def seconds(self) -> float:
        started, completed = self.vertex.started, self.vertex.completed
        return 0.0 if started is None or completed is None else max(0.0, completed - started)


class BuildStory:
    """Collects one build's progress; `feed` gives the lines that are new."""

    def __init__(self) -> None:
        self._steps: dict[str, _Step] = {}
        self._failed: _Step | None = None

    def feed(self, payload: bytes) -> list[BuildEvent]:
        """The new lines in one progress message (a StatusResponse). Raises EngineError when it is not one."""
        return self.tell(decode_trace(payload))

    def tell(self, trace: Trace) -> list[BuildEvent]:
        """The new lines in one progress message: steps that began, then output, then steps that ended."""
        touched = {vertex.digest: self._update(vertex) for vertex in trace.vertices}
        events = [event for step in touched.values() for event in self._begin(step)]
        for output in trace.outputs:
            events += self._log(output)
        for step in touched.values():
            events += self._end(step)
        return events + [BuildEvent(EventKind.WARNING, f"warning: {printable(text)}") for text in trace.warnings]

    @property
    def steps(self) -> int:
        """How many steps of the Dockerfile were seen; naming a base image is not counted."""
        return sum(1 for step in self._steps.values() if step.works)

    @property
    def cached(self) -> int:
        """How many of them were there already."""
        return sum(1 for step in self._steps.values() if step.works and step.vertex.cached)

    @property
    def stages(self) -> dict[str, float]:
        """Seconds of work per stage of the Dockerfile; a stage without a name is ''."""
        seconds: dict[str, float] = {}
        for step in self._steps.values():
            if step.label:
                seconds[step.stage] = seconds.get(step.stage, 0.0) + step.seconds
        return seconds

    @property
    def failed(self) -> FailedStep | None:
        """The step that ended the build, once one has."""
        step = self._failed
        if step is None:
            return None
        code = _EXIT_CODE.search(step.vertex.error)
        return FailedStep(step.title, step.vertex.error, int(code[1]) if code else None, tuple(step.tail))

    def _update(self, vertex: Vertex) -> _Step:
        step = self._steps.get(vertex.digest)
        if step is None:
            self._steps[vertex.digest] = step = _new_step(vertex)
        step.vertex = vertex
        return step

    def _begin(self, step: _Step) -> list[BuildEvent]:
        vertex = step.vertex
        if step.announced or not step.label or not (vertex.started or vertex.cached):
            return []
        step.announced = True
        if vertex.cached and step.works:
            step.ended = True
            return [BuildEvent(EventKind.CACHED, f"{step.label} CACHED {step.what}", step.label)]
        return [BuildEvent(EventKind.STEP, step.title, step.label)]

    def _log(self, output: Output) -> list[BuildEvent]:
        step = self._steps.get(output.vertex)
        if step is None:
            return []
        cutter = step.cutters.setdefault(output.stream, LineCutter())
        return self._lines(step, cutter.feed(output.data))

    def _lines(self, step: _Step, lines: list[str]) -> list[BuildEvent]:
        step.tail.extend(lines)
        if not step.label:
            return []
        several = sum(1 for other in self._steps.values() if other.running) > 1
        prefix = f"  {step.label} " if several else "  "
        return [BuildEvent(EventKind.LOG, prefix + line, step.label) for line in lines]

    def _end(self, step: _Step) -> list[BuildEvent]:
        if step.ended or step.vertex.completed is None:
            return []
        events = [event for cutter in step.cutters.values() for event in self._lines(step, cutter.flush())]
        step.ended = True
        if step.vertex.error:
            return events + self._fail(step)
        step.tail.clear()
        return events + _farewell(step)

    def _fail(self, step: _Step) -> list[BuildEvent]:
        if self._failed is not None or step.vertex.error.endswith(_CANCELLED):
            return []
        self._failed = step
        code = _EXIT_CODE.search(step.vertex.error)
        reason = f"exit code {code[1]}" if code else short_reason(step.vertex.error)
        name = step.label or step.what
        after = f" after {step.seconds:.1f} s" if step.seconds > WORTH_SAYING else ""
        return [BuildEvent(EventKind.FAILED, f"{name} failed{after}: {reason}", step.label)]


def _new_step(vertex: Vertex) -> _Step:
    match = _STEP.fullmatch(vertex.name)
    if match is None:
        return _Step(vertex, "", short_instruction(vertex.name), "")
    stage = "" if match["stage"] in (None, "stage-0") else printable(match["stage"])
    label = f"[{stage} {match['number']}/{match['total']}]" if stage else f"[{match['number']}/{match['total']}]"
    return _Step(vertex, label, short_instruction(match["what"]), stage)


def _farewell(step: _Step) -> list[BuildEvent]:
    if step.works and step.vertex.cached:
        return [BuildEvent(EventKind.CACHED, f"{step.label} CACHED", step.label)]
    if step.label and step.seconds > WORTH_SAYING:
        return [BuildEvent(EventKind.DONE, f"{step.label} done in {step.seconds:.1f} s", step.label)]
    if step.what.startswith("exporting to image") and step.seconds > SLOW_EXPORT:
        return [BuildEvent(EventKind.DONE, f"image written in {step.seconds:.1f} s")]
    return []
