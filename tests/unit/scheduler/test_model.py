"""Whatever happens, each slot has exactly one outcome: a row of its own, or a row that says it stands for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.alerts.model import AlertKind
from runtime.model import CatchUp, CronJob, Overlap, RunState, Trigger
from runtime.store import Store
from tests.cronrig import job
from tests.unit.scheduler import reference
from tests.unit.scheduler.world import World

Step = Callable[[World], None]
SET_BACK = timedelta(hours=2.5)  # in all; beyond three hours schedules start afresh, see test_agenda


def spans(most: timedelta) -> st.SearchStrategy[timedelta]:
    return st.one_of(st.timedeltas(timedelta(0), timedelta(minutes=5)), st.timedeltas(timedelta(0), most))


def set_clock(by: timedelta) -> Step:
    def step(world: World) -> None:
        lowest = world.highest - SET_BACK
        world.set_clock(max(by, lowest - world.now) if by < timedelta(0) else by)

    return step


def end_one(index: int, state: RunState) -> Step:
    def step(world: World) -> None:
        runs = world.open()
        if runs:
            world.end(runs[index % len(runs)], state)

    return step


def retry_one(index: int, after: timedelta) -> Step:
    """A run fails and is to be tried again."""

    def step(world: World) -> None:
        runs = world.open()
        if runs:
            world.end(runs[index % len(runs)], RunState.FAILED, retry_at=world.now + after)

    return step


def hold(deploy: int | None) -> Step:
    def step(world: World) -> None:
        world.hold(deploy)
        if deploy is None:
            world.wake()

    return step


def suspend(on: bool) -> Step:
    def step(world: World) -> None:
        world.suspend(on=on)
        world.wake()

    return step


def redeploy(world: World) -> None:
    world.deploy(*world.jobs.values())
    world.wake()


STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda span: lambda world: world.pass_time(span), spans(timedelta(hours=8))),
    st.builds(lambda span: lambda world: world.pass_time(span), spans(timedelta(hours=8))),
    st.builds(lambda span: lambda world: world.down_for(span), spans(timedelta(hours=30))),
    st.builds(set_clock, st.timedeltas(-SET_BACK, timedelta(hours=20))),
    st.builds(end_one, st.integers(0, 9), st.sampled_from([RunState.SUCCEEDED, RunState.FAILED])),
    st.builds(end_one, st.integers(0, 9), st.sampled_from([RunState.SUCCEEDED, RunState.FAILED])),
    st.builds(retry_one, st.integers(0, 9), st.timedeltas(timedelta(seconds=10), timedelta(hours=2))),
    st.builds(hold, st.sampled_from([None, 7])),
    st.builds(suspend, st.booleans()),
    st.just(redeploy),
)


@st.composite
def jobs(draw: st.DrawFn, name: str = "tick", serial: str | None = None) -> CronJob:
    fields = draw(st.one_of(reference.any_fields(), st.sampled_from(["* * * * *", "*/5 * * * *", "0 * * * *"])))
    return job(
        name,
        schedule=fields,
        serial=serial,
        timezone=draw(st.sampled_from(reference.ZONES)),
        overlap=draw(st.sampled_from(Overlap)),
        catch_up=draw(st.sampled_from(CatchUp)),
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(jobs(), reference.near_changes(), st.lists(STEPS, min_size=1, max_size=12))
def test_each_slot_has_exactly_one_outcome(store: Store, one: CronJob, begin: datetime, steps: list[Step]) -> None:
    forget(store)
    world = World(store, begin, one)
    for step in steps:
        step(world)
    world.settle()
    check(world, one, begin)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(jobs("a", "db"), jobs("b", "db"), jobs("c")),
    reference.near_changes(),
    st.lists(STEPS, min_size=1, max_size=10),
)
def test_so_has_each_slot_of_a_serial_group(
    store: Store, some: tuple[CronJob, ...], begin: datetime, steps: list[Step]
) -> None:
    """That two of a group never run at once is checked by the world, at each claim."""
    forget(store)
    world = World(store, begin, *some)
    for step in steps:
        step(world)
    world.settle()
    for one in some:
        check(world, one, begin)
    assert not world.open()


def check(world: World, one: CronJob, begin: datetime) -> None:
    check_slots(world, one, begin)
    check_failures(world, one)


def check_failures(world: World, one: CronJob) -> None:
    """What failed is to be tried again, was tried again, or is alerted of; exactly one of these."""
    with world.store.read() as tx:
        runs = tx.cron.of("shop", one.name, limit=100_000)
        alerted = [alert.cause.run for alert in tx.alerts.of(limit=100_000) if alert.cause.kind is AlertKind.RUN]
    tried = [run.reason for run in runs if run.trigger is Trigger.RETRY]
    for run in runs:
        outcomes = [run.retry_at is not None, f"again after run {run.id}" in tried, run.id in alerted]
        assert outcomes.count(True) == (run.state is RunState.FAILED), f"run {run.id}: {outcomes}"


def check_slots(world: World, one: CronJob, begin: datetime) -> None:
    slots = reference.slots(one.schedule, one.timezone, begin, world.highest)
    covered = 0
    for run in world.runs(one.name):
        reached = sum(1 for slot in slots if slot <= run.slot)
        assert run.slot in slots, "a row for what is no slot"
        assert reached - covered == run.stands_for, "slots that no row stands for, or two do"
        assert not run.state.open
        assert run.state is not RunState.SKIPPED or run.reason
        covered = reached
    assert covered == len(slots), "slots without an outcome"


def forget(store: Store) -> None:
    with store.write() as tx:
        if tx.apps.find("shop") is not None:
            tx.apps.remove("shop")
