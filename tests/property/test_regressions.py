"""What the machine and the sweep once found, each as one example."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from runtime import names
from runtime.deployer import Outcome
from runtime.errors import LockstepError
from runtime.model import DeployState
from runtime.names import Handle
from tests.contract.fates import Fate, Fates
from tests.contract.script import Script, Tell
from tests.property.plant import APP, INSTANCE, Ended, Plant
from tests.property.test_release_sweep import BAD, GOOD, HOOK, OLD
from tests.unit.runtime import samples


@pytest.fixture
def plant() -> Iterator[Plant]:
    found = Plant()
    found.start_server()
    yield found
    found.close()


def states(plant: Plant) -> list[DeployState]:
    with plant.store.read() as tx:
        return [deploy.state for deploy in reversed(tx.deploys.of(APP))]


def rest(plant: Plant) -> None:
    plant.check_moments()
    plant.recover()
    plant.check()


def befall(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, when: Callable[[str], bool], fate: Fate, *, times: int = 1
) -> None:
    """Have the first calls that are so meet this fate."""
    assert plant.server is not None
    real, mine, met = Fates.next, plant.server.fates, 0

    def next_(fates: Fates, what: str) -> Fate | None:
        nonlocal met
        found = real(fates, what)
        if met == times or fates is not mine or not when(what):
            return found
        met += 1
        return fate

    monkeypatch.setattr(Fates, "next", next_)


async def client(plant: Plant, *cancel_after: float) -> tuple[Ended, list[bool]]:
    """A push that is cancelled at these moments; how it ended, and whether the app was held until it had."""
    server = plant.server
    assert server is not None
    task = asyncio.create_task(plant.push(samples.spec(*GOOD, hooks=(HOOK,)))(server))
    held = []
    for seconds in cancel_after:
        await asyncio.sleep(seconds)
        task.cancel()
    while not task.done():
        await asyncio.wait({task}, timeout=0.05)
        with plant.store.read() as tx:
            under_way = any(not deploy.state.ended for deploy in tx.deploys.of(APP))
        held.append(server.deployer.locks.held(APP) or not under_way)
    return (asyncio.CancelledError() if task.cancelled() else task.exception() or task.result()), held


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0])
def test_push_cancelled_before_it_began_is_closed(plant: Plant, seconds: float) -> None:
    """A task that is cancelled before its first step never runs: nothing in it can close the row."""
    ended, _ = plant.run(client(plant, seconds))
    assert isinstance(ended, asyncio.CancelledError)
    assert states(plant) == [DeployState.CANCELLED]
    rest(plant)


def test_push_cancelled_in_every_turn_of_its_way_is_closed(plant: Plant) -> None:
    """Also between the end of the build and the first step of the paragraph."""
    assert isinstance(plant.deploy(*OLD), Outcome)
    for turns in range(60):
        plant.run(_cancelled_after_turns(plant, turns))
        assert all(state.ended for state in states(plant)), plant.tell(f"cancelled after {turns} turns")
    rest(plant)


async def _cancelled_after_turns(plant: Plant, turns: int) -> None:
    assert plant.server is not None
    task = asyncio.create_task(plant.push(samples.spec(*GOOD))(plant.server))
    await asyncio.sleep(0.999)  # the build takes 1 s
    for _ in range(turns):
        await asyncio.sleep(0.0001)
    task.cancel()
    await asyncio.wait({task})


def test_second_cancel_does_not_free_the_app_while_it_is_undone(plant: Plant) -> None:
    assert isinstance(plant.deploy(*OLD), Outcome)
    ended, held = plant.run(client(plant, 1.5, 0.01, 0.01, 0.01))
    assert isinstance(ended, asyncio.CancelledError)
    assert all(held)
    assert states(plant)[-1] is DeployState.CANCELLED
    rest(plant)


def test_cancel_of_a_push_that_is_being_undone_anyway(plant: Plant) -> None:
    """The client leaves while its failed deploy is undone: the undoing goes on, with the app held."""
    assert isinstance(plant.deploy(*OLD), Outcome)
    server = plant.server
    assert server is not None

    async def leave_while_undone() -> None:
        task = asyncio.create_task(plant.push(samples.spec(*BAD))(server))
        while states(plant)[-1] is not DeployState.UNDOING:
            await asyncio.wait({task}, timeout=0.01)
        task.cancel()
        while not task.done():
            await asyncio.wait({task}, timeout=0.01)
            assert server.deployer.locks.held(APP) or states(plant)[-1].ended

    plant.run(leave_while_undone())
    assert states(plant)[-1] is DeployState.FAILED
    rest(plant)


def test_client_that_leaves_past_the_commit_is_told_that_the_deploy_goes_on(plant: Plant) -> None:
    server = plant.server
    assert server is not None

    async def leave_while_workers_start() -> None:
        task = asyncio.create_task(plant.push(samples.spec(*GOOD))(server))
        while not states(plant) or states(plant)[-1] is not DeployState.START:
            await asyncio.wait({task}, timeout=0.01)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    plant.run(leave_while_workers_start())
    assert states(plant) == [DeployState.LIVE]
    told = f" !     deploy 1 is past its commit point and goes on: 'deploys:log {APP} 1 -f' shows the rest"
    assert told in plant.observer.story
    rest(plant)


def test_config_that_waits_for_a_first_deploy_which_is_undone(plant: Plant) -> None:
    pushed, configured = plant.attempt(plant.push(samples.spec(*BAD)), plant.config(KEY="1"), apart=1.5)
    assert isinstance(pushed, LockstepError)
    if configured is not None:
        assert str(configured) == f"the release of {APP} that was live has been undone meanwhile: try again"
    rest(plant)


@pytest.mark.parametrize("moment", range(12))
@pytest.mark.parametrize("times", [1, 2])
def test_store_that_refuses_changes_leaves_no_deploy_open(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, moment: int, times: int
) -> None:
    """Also when what is refused is the row that ends the deploy: the reconciler finds what nobody works on."""
    assert isinstance(plant.deploy(*OLD), Outcome)
    seen = 0

    def when(what: str) -> bool:
        nonlocal seen
        seen += what == "store"
        return what == "store" and seen >= moment

    befall(plant, monkeypatch, when, Fate.REFUSE, times=times)
    plant.deploy(*GOOD)
    rest(plant)


def test_log_that_hangs_does_not_hold_up_the_deploy(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    befall(plant, monkeypatch, lambda what: what.endswith("/logs"), Fate.HANG)
    assert isinstance(plant.deploy(*OLD, hooks=(HOOK,)), Outcome)
    rest(plant)


def test_stop_that_hangs_does_not_hold_up_the_deploy(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(plant.deploy(*OLD), Outcome)
    befall(plant, monkeypatch, lambda what: what.endswith("/stop"), Fate.HANG)
    assert isinstance(plant.deploy(*GOOD), Outcome)
    rest(plant)


def test_server_that_dies_while_workers_are_in_their_grace(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are scaled to nothing already and still run: the next server waits for their end before it starts others."""
    stubborn = (GOOD[0], samples.worker("mailer", command="trap '' TERM; sleep 100000", grace=10.0), BAD[2])
    assert isinstance(plant.deploy(*OLD), Outcome)
    stops = 0

    def when(what: str) -> bool:
        nonlocal stops
        stops += what.endswith("/stop")
        return stops == 2  # the first stops the old workers, the second the new ones, to undo it

    befall(plant, monkeypatch, when, Fate.KILL)
    plant.deploy(*stubborn)
    rest(plant)


def test_swarm_that_misses_a_change_is_told_again(plant: Plant) -> None:
    """Seen with Docker 20.10: a service of 0 replicas whose task was never taken away."""
    assert isinstance(plant.deploy(*OLD), Outcome)

    async def miss() -> None:
        plant.swarm.missed = 1
        await asyncio.sleep(0)

    quiesced = samples.spec(*GOOD)
    plant.run(miss())
    assert isinstance(plant.attempt(plant.push(quiesced))[0], Outcome)
    rest(plant)


def test_undoing_that_fails_for_long_does_not_move_the_requests_ahead(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new workers can not be stopped: until they can, requests stay where they are, round after round."""
    assert isinstance(plant.deploy(*OLD), Outcome)
    server = plant.server
    assert server is not None

    def when(what: str) -> bool:
        return states(plant)[-1] is DeployState.UNDOING and what.endswith("/update")

    befall(plant, monkeypatch, when, Fate.REFUSE, times=5)
    plant.deploy(*BAD)
    for _ in range(6):
        plant.run(server.reconciler.round())
        plant.check_moments()
    rest(plant)


def test_push_after_one_whose_retirement_could_not_be_closed(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The older deploy is closed by the reconciler: it must not take the newer one's services for left-overs."""
    assert isinstance(plant.deploy(*OLD), Outcome)

    def when(what: str) -> bool:
        return what == "store" and states(plant)[-1] is DeployState.RETIRE

    befall(plant, monkeypatch, when, Fate.REFUSE)
    assert isinstance(plant.deploy(*GOOD), Outcome)
    assert states(plant)[-1] is DeployState.RETIRE
    assert isinstance(plant.deploy(*OLD), Outcome)
    rest(plant)
    assert [state.ended for state in states(plant)] == [True, True, True]


def test_push_after_one_whose_undoing_could_not_begin(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(plant.deploy(*OLD), Outcome)

    def when(what: str) -> bool:
        return what == "store" and states(plant)[-1] is DeployState.START

    befall(plant, monkeypatch, when, Fate.REFUSE)
    assert isinstance(plant.deploy(*BAD), LockstepError)
    assert states(plant)[-1] is DeployState.START
    newest = plant.deploy(*GOOD)
    assert isinstance(newest, Outcome)
    rest(plant)
    with plant.store.read() as tx:
        assert tx.apps.get(APP).current_release == newest.release.number


@pytest.mark.parametrize("fate", [Fate.KILL, Fate.KILL_DONE, Fate.LOSE_DONE, Fate.CANCEL, Fate.ENGINE_DOWN])
def test_durable_folder_is_open_whatever_befell_its_making(fate: Fate) -> None:
    """The server dies between the making of the volume and its opening: the next push opens it."""
    volume = names.volume(INSTANCE, Handle(APP), "data")
    for number in range(1, 30):
        plant = Plant()
        plant.start_server()
        assert plant.server is not None
        plant.server.fates.plan = {plant.server.fates.count + number: fate}
        plant.deploy(*OLD, persist=("data",))
        plant.recover()
        again = plant.deploy(*OLD, persist=("data",))
        assert isinstance(again, Outcome), plant.tell(f"the next push ended as {again!r}")
        assert volume in plant.world.opened, plant.tell(f"{volume} was never opened (call {number})")
        rest(plant)
        left = [container.name for container in plant.world.containers.values() if container.name.startswith(volume)]
        assert left == [], plant.tell(f"left over: {left}")
        plant.close()


def test_durable_folder_that_can_not_be_opened_fails_the_deploy(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Script, "run", _without_chmod(Script.run))
    ended = plant.deploy(*OLD, persist=("data",))
    assert str(ended) == "the folder data can not be opened to the app: chmod exited with 1; look at the engine's disk"
    monkeypatch.undo()
    assert isinstance(plant.deploy(*OLD, persist=("data",)), Outcome)
    assert plant.world.opened == {names.volume(INSTANCE, Handle(APP), "data")}
    rest(plant)


def _without_chmod(run: Callable[[Script, Tell], Awaitable[int]]) -> Callable[[Script, Tell], Awaitable[int]]:
    async def run_(script: Script, tell: Tell) -> int:
        return 1 if script.line.startswith("chmod") else await run(script, tell)

    return run_
