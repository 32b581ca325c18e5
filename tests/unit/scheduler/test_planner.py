"""The heap of moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from runtime.scheduler.planner import Planner

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
THINGS = st.integers(0, 5)
STEPS = st.lists(st.tuples(st.sampled_from(["put", "drop", "take"]), THINGS, st.integers(0, 20)), max_size=60)


@given(STEPS)
def test_it_is_a_dictionary_that_knows_its_least_value(steps: list[tuple[str, int, int]]) -> None:
    planner: Planner[int] = Planner()
    model: dict[int, datetime] = {}
    for what, thing, number in steps:
        moment = BEGIN + timedelta(minutes=number)
        if what == "put":
            planner.put(thing, moment)
            model[thing] = moment
        elif what == "drop":
            planner.drop(thing)
            model.pop(thing, None)
        else:
            due = [one for one, at in model.items() if at <= moment]
            taken = planner.take(moment, most=3)
            assert len(taken) == min(3, len(due))
            assert {model.pop(one) for one in taken} <= {moment, *(BEGIN + timedelta(minutes=m) for m in range(number))}
        assert planner.next() == min(model.values(), default=None)
        assert len(planner) == len(model)


def test_the_heap_does_not_grow_with_what_is_planned_again() -> None:
    planner: Planner[str] = Planner()
    for number in range(10_000):
        planner.put("tick", BEGIN + timedelta(minutes=number))
    assert len(planner._heap) < 100
    assert planner.take(BEGIN + timedelta(days=30), most=5) == ["tick"]
