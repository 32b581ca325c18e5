"""What the engine's figures say of a container: as Docker 20.10 and newer ones give them."""

from __future__ import annotations

from typing import Any, cast

import pytest

from runtime.engine.stats import Usage, usage_in
from runtime.errors import EngineError, NotFound
from runtime.parts import Parts
from runtime.status import Replica, _explained, _load
from tests.unit.runtime.samples import NOW, worker


def reading(second: int, spent: float, memory: Any = None) -> dict[str, Any]:
    """`spent` in seconds of one core."""
    return {
        "read": f"2026-01-02T03:04:{second:02}.000000001Z",
        "cpu_stats": {"cpu_usage": {"total_usage": int(spent * 1e9)}},
        "memory_stats": {"usage": 100, "stats": {}} if memory is None else memory,
    }


@pytest.mark.parametrize(
    ("memory", "used"),
    [
        ({"usage": 100, "stats": {"total_inactive_file": 30, "inactive_file": 20}}, 70),  # cgroup v1
        ({"usage": 100, "stats": {"inactive_file": 20}}, 80),  # cgroup v2
        ({"usage": 100}, 100),
        ({"usage": 10, "stats": {"inactive_file": 20}}, 0),
    ],
)
def test_memory_is_without_the_cache_of_files(memory: dict[str, Any], used: int) -> None:
    assert usage_in(reading(5, 0), reading(6, 0, memory)) == Usage(cpu=0.0, memory=used)


def test_cpu_is_the_rate_between_two_readings() -> None:
    assert usage_in(reading(5, 10.0), reading(7, 13.0)).cpu == 1.5
    assert usage_in(reading(5, 10.0), reading(6, 1.0)).cpu == 0.0


@pytest.mark.parametrize("second", [reading(5, 1.0), reading(6, 1.0, {}), {"read": "2026-01-02T03:04:09Z"}])
def test_figures_of_a_container_that_is_gone_are_no_zeroes(second: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="statistics"):
        usage_in(reading(5, 0), second)


class Engine:
    """Answers one question, or fails."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    async def get(self, path: str, **params: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Bare:
    """As much of the parts as status looks at."""

    def __init__(self, answer: Any) -> None:
        self.fleet = self
        self.engine = Engine(answer)


def parts(answer: Any) -> Parts:
    return cast(Parts, Bare(answer))


def replica(last_exit: str | None) -> Replica:
    return Replica("web.1", 1, "running", NOW, 1, last_exit, None, "new", "old")


@pytest.mark.parametrize(
    ("last_exit", "answer", "said"),
    [
        ("137", {"State": {"OOMKilled": True}}, "137 (out of memory)"),
        ("137", {"State": {"OOMKilled": False}}, "137 (killed)"),
        ("137", NotFound("no such container"), "137 (out of memory or killed: its container is gone)"),
        ("1", EngineError("is not asked"), "1"),
        (None, EngineError("is not asked"), None),
    ],
)
async def test_what_killed_a_process(last_exit: str | None, answer: Any, said: str | None) -> None:
    assert (await _explained(parts(answer), replica(last_exit))).last_exit == said


async def test_figures_that_can_not_be_read_are_unknown() -> None:
    answers: tuple[Any, ...] = (EngineError("away"), NotFound("gone"), {})
    for answer in answers:
        assert (await _load(parts(answer), replica(None), worker())).usage is None
