"""What the runtime relies on of an engine, held by the fake of the property tests and by a real one alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from runtime.engine import fleet
from runtime.engine.fleet import Fleet
from runtime.engine.logs import LogLine, log_tail
from runtime.engine.swarm import SwarmState
from runtime.engine.tasks import Service
from runtime.errors import Conflict, EngineError, NotFound
from runtime.names import Handle
from runtime.status import _replicas
from tests.contract.rig import DEADLINE, FOREVER, Rig, fake_rig, real_rig

REAL = pytest.param("real", marks=pytest.mark.engine)
SETTLED = 4.0  # seconds after which what the node had not heard of yet would have shown
STUBBORN = "trap '' TERM; sleep 100000"


@pytest.fixture(params=["fake", REAL])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with fake_rig() if request.param == "fake" else real_rig() as found:
        yield found


async def started(rig: Rig, line: str = FOREVER, **changes: Any) -> Service:
    service = await rig.fleet.ensure_service(rig.service(line, **changes))
    await rig.until_running(service, changes.get("replicas", 1))
    return service


# ---- services ---------------------------------------------------------------------------------------------------


async def test_service_is_made_once(rig: Rig) -> None:
    first = await rig.fleet.ensure_service(rig.service(FOREVER))
    again = await rig.fleet.ensure_service(rig.service(FOREVER))
    assert (first.id, first.name) == (again.id, again.name)
    (found,) = await rig.fleet.services()
    assert (found.id, found.release, found.process, found.kind, found.replicas) == (first.id, 1, "mailer", "worker", 1)
    assert [service.id for service in await rig.fleet.services(Handle("shop"))] == [first.id]
    assert await rig.fleet.services(Handle("blog")) == []


async def test_service_that_runs_has_container_and_address(rig: Rig) -> None:
    service = await started(rig)
    (task,) = await rig.fleet.tasks(service)
    assert (task.slot, task.state, task.wanted, task.error, task.exit_code) == (1, "running", "running", None, None)
    assert task.address is not None
    assert task.address.count(".") == 3
    (container,) = [item for item in await rig.fleet.containers(process="mailer") if item["State"] == "running"]
    assert container["Id"] == task.container


async def test_service_is_scaled_up_and_down(rig: Rig) -> None:
    service = await started(rig)
    await rig.fleet.ensure_service(rig.service(FOREVER, replicas=3))
    assert sorted(task.slot for task in await rig.until_running(service, 3)) == [1, 2, 3]
    await rig.fleet.scale(await rig.fleet.service(service.id), 1)
    assert (await rig.fleet.service(service.id)).replicas == 1

    async def look() -> bool | None:
        return True if len(await rig.running()) == 1 else None

    await rig.fleet.events.until("one replica", DEADLINE, look)


async def test_scaling_is_tried_again_when_another_was_quicker(rig: Rig) -> None:
    stale = await rig.fleet.ensure_service(rig.service(FOREVER, replicas=0))
    await rig.fleet.scale(stale, 2)
    await rig.fleet.scale(stale, 1)
    assert (await rig.fleet.service(stale.name)).replicas == 1
    with pytest.raises(EngineError, match="out of sequence"):
        await rig.fleet.engine.post(f"/services/{stale.id}/update", stale.spec, version=stale.version)


async def test_nothing_runs_when_stop_returns(rig: Rig) -> None:
    service = await started(rig, replicas=2)
    await rig.fleet.stop([service])
    assert await rig.running() == []
    assert (await rig.fleet.service(service.id)).replicas == 0


async def test_process_that_ignores_its_signal_is_killed_after_its_grace(rig: Rig) -> None:
    service = await started(rig, STUBBORN)
    await rig.fleet.stop([service])
    assert await rig.running() == []


async def test_each_process_has_its_own_grace(rig: Rig) -> None:
    hasty = await rig.fleet.ensure_service(rig.service(STUBBORN, name="hasty"))
    patient = await rig.fleet.ensure_service(rig.service(STUBBORN, name="patient", grace=6.0))
    for service in (hasty, patient):
        await rig.until_running(service)

    async def only_patient() -> bool | None:
        [*names] = await rig.running()
        return True if len(names) == 1 and "patient" in names[0] else None

    stopping = asyncio.create_task(rig.fleet.stop([hasty, patient]))
    await rig.fleet.events.until("the end of hasty alone", DEADLINE, only_patient)
    await stopping
    assert await rig.running() == []


async def test_nothing_starts_after_stop_returned(rig: Rig) -> None:
    """Stopped at every moment of its start: the node may not have heard of it yet."""
    services = []
    for number, pause in enumerate((0.0, 0.05, 0.15, 0.25, 0.35)):
        services.append(await rig.fleet.ensure_service(rig.service(FOREVER, name=f"w{number}")))
        await asyncio.sleep(pause * rig.patience)
    await rig.fleet.stop(services)
    for _ in range(20):
        assert await rig.running() == []
        await asyncio.sleep(SETTLED / 20 * rig.patience)


async def test_nothing_of_a_crash_loop_starts_after_stop_returned(rig: Rig) -> None:
    service = await rig.fleet.ensure_service(rig.service("exit 3"))
    await rig.until_failed(service)
    await rig.fleet.stop([service])
    for _ in range(20):
        assert await rig.running() == []
        await asyncio.sleep(SETTLED / 20 * rig.patience)


async def test_stopping_what_does_not_run_changes_nothing(rig: Rig) -> None:
    service = await rig.fleet.ensure_service(rig.service(FOREVER, replicas=0))
    await rig.fleet.stop([])
    await rig.fleet.stop([service])
    await rig.fleet.stop([service, service])


async def test_removing_what_is_gone_succeeds(rig: Rig) -> None:
    service = await rig.fleet.ensure_service(rig.service(FOREVER, replicas=0))
    await rig.fleet.remove_service(service)
    await rig.fleet.remove_service(service)
    assert await rig.fleet.services() == []
    with pytest.raises(NotFound):
        await rig.fleet.service(service.name)
    with pytest.raises(NotFound):
        await rig.fleet.tasks(service)


# ---- processes that end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [3, 0])
async def test_process_that_ends_has_failed_and_is_started_again(rig: Rig, code: int) -> None:
    service = await rig.fleet.ensure_service(rig.service(f"echo once; exit {code}"))
    failed = await rig.until_failed(service, 2)
    assert {task.exit_code for task in failed} == {code}
    assert not any(task.never_started for task in failed)
    assert failed[0].container is not None
    assert await log_tail(rig.fleet.engine, failed[0].container) == ("once",)
    (replica,) = _replicas(service, await rig.fleet.tasks(service), None, datetime.now(UTC))
    assert (replica.name, replica.restarts >= 2, replica.last_exit) == ("mailer.1", True, str(code))


async def test_command_that_is_not_there_never_started(rig: Rig) -> None:
    service = await rig.fleet.ensure_service(rig.service("/no-such-program"))
    (task, *_) = await rig.until_failed(service)
    assert task.never_started


async def test_image_that_is_not_there_never_started(rig: Rig) -> None:
    service = await rig.fleet.ensure_service(rig.service(FOREVER, image="sha256:" + "9" * 64))
    (task, *_) = await rig.until_failed(service)
    assert task.never_started
    assert "No such image" in (task.error or "")


# ---- containers that run once -----------------------------------------------------------------------------------


async def run(rig: Rig, line: str, *, timeout: float = DEADLINE) -> tuple[int | None, list[LogLine]]:
    lines: list[LogLine] = []
    spec = rig.container("/bin/sh", "-c", line)
    code = await rig.fleet.run_once(f"{rig.instance}-once", spec, timeout=timeout, grace=1.0, on_line=lines.append)
    with pytest.raises(NotFound):
        await rig.fleet.engine.get(f"/containers/{rig.instance}-once/json")
    return code, lines


async def test_container_runs_once_and_tells_all(rig: Rig) -> None:
    code, lines = await run(rig, "echo one; echo two >&2; echo three; exit 5")
    assert code == 5
    assert [(line.text, line.error) for line in lines if not line.error] == [("one", False), ("three", False)]
    assert [line.text for line in lines if line.error] == ["two"]
    assert all(line.moment.endswith("Z") for line in lines)


async def test_end_of_a_log_is_told_however_little_time_there_is(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "LOG_SLACK", 0.0)
    code, lines = await run(rig, "echo one; echo two; echo the cause; exit 3")
    assert code == 3
    assert [line.text for line in lines] == ["one", "two", "the cause"]


@pytest.mark.engine
async def test_end_of_a_log_that_is_rotated_away_while_it_is_read_is_told() -> None:
    """A real engine ends the stream of a log that it rotates faster than it is read."""
    lines: list[str] = []
    async with real_rig() as rig:
        spec = rig.container("/bin/sh", "-c", "seq 1 20000; echo the cause; exit 3")
        spec["HostConfig"]["LogConfig"] = {"Type": "json-file", "Config": {"max-size": "64k", "max-file": "2"}}
        code = await rig.fleet.run_once(
            f"{rig.instance}-once", spec, timeout=DEADLINE, grace=1.0, on_line=lambda line: lines.append(line.text)
        )
    assert (code, lines[-1]) == (3, "the cause")


async def test_container_that_takes_too_long_is_ended(rig: Rig) -> None:
    code, lines = await run(rig, "echo one; sleep 100000", timeout=0.5)
    assert (code, [line.text for line in lines]) == (None, ["one"])


async def test_container_that_ignores_its_signal_is_ended_too(rig: Rig) -> None:
    assert (await run(rig, STUBBORN, timeout=0.5))[0] is None


async def test_cancelled_run_leaves_no_container(rig: Rig) -> None:
    task = asyncio.create_task(run(rig, "echo one; sleep 100000"))

    async def look() -> bool | None:
        return True if await rig.fleet.containers(kind="run") else None

    await rig.fleet.events.until("the run", DEADLINE, look)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await rig.fleet.containers(kind="run") == []


async def test_container_of_a_name_is_made_once(rig: Rig) -> None:
    spec = rig.container("sleep", "100000")
    first = await rig.fleet.create_container(f"{rig.instance}-one", spec)
    assert await rig.fleet.create_container(f"{rig.instance}-one", spec) == first
    await rig.fleet.remove_container(first)
    await rig.fleet.remove_container(first)


async def test_lasting_container_is_replaced_when_its_spec_changes(rig: Rig) -> None:
    name, spec = f"{rig.instance}-lasting", rig.container("sleep", "100000")
    first = await rig.fleet.ensure_container(name, spec)
    assert await rig.fleet.ensure_container(name, spec) == first
    second = await rig.fleet.ensure_container(name, rig.container("sleep", "200000"))
    assert second != first
    with pytest.raises(NotFound):
        await rig.fleet.engine.get(f"/containers/{first}/json")
    found = await rig.fleet.engine.get(f"/containers/{name}/json")
    assert (found["Id"], found["State"]["Running"]) == (second, True)


async def test_lasting_container_that_was_stopped_is_started_again(rig: Rig) -> None:
    name, spec = f"{rig.instance}-lasting", rig.container("sleep", "100000")
    first = await rig.fleet.ensure_container(name, spec)
    await rig.fleet.engine.post(f"/containers/{first}/stop", t=1)
    assert await rig.fleet.ensure_container(name, spec) == first
    assert (await rig.fleet.engine.get(f"/containers/{first}/json"))["State"]["Running"]


# ---- networks and volumes ---------------------------------------------------------------------------------------


async def test_network_is_made_and_joined_once(rig: Rig) -> None:
    spec = {"Name": f"{rig.instance}-net", "Driver": "bridge", "CheckDuplicate": True, "Labels": {}}
    assert await rig.fleet.ensure_network(spec) == await rig.fleet.ensure_network(spec) == spec["Name"]
    lasting = await rig.fleet.ensure_container(f"{rig.instance}-lasting", _on_bridge(rig))
    for _ in range(2):
        await rig.fleet.attach(lasting, spec["Name"], aliases=("friend",))
    found = await rig.fleet.engine.get(f"/containers/{lasting}/json")
    assert spec["Name"] in found["NetworkSettings"]["Networks"]
    for _ in range(2):
        await rig.fleet.detach(lasting, spec["Name"])
    await rig.fleet.detach(lasting, "no-such-network")
    for _ in range(2):
        await rig.fleet.remove_network(spec["Name"])


def _on_bridge(rig: Rig) -> dict[str, Any]:
    spec = rig.container("sleep", "100000")
    return {**spec, "HostConfig": {"Init": True}}


async def test_network_in_use_is_not_removed(rig: Rig) -> None:
    await rig.fleet.ensure_service(rig.service(FOREVER, replicas=0))
    with pytest.raises(EngineError):
        await rig.fleet.engine.delete(f"/networks/{rig.network}")


async def test_volume_is_made_once(rig: Rig) -> None:
    name, labels = f"{rig.instance}-data", {"lockstep.instance": rig.instance}
    assert not await rig.fleet.has(f"/volumes/{name}")
    for _ in range(2):
        await rig.fleet.ensure_volume(name, labels)
    assert await rig.fleet.has(f"/volumes/{name}")
    assert (await rig.fleet.engine.get(f"/volumes/{name}"))["Labels"] == labels


# ---- instances, events, errors ----------------------------------------------------------------------------------


async def test_instances_do_not_see_each_other(rig: Rig) -> None:
    other = Fleet(rig.fleet.engine, rig.fleet.events, f"{rig.instance}x")
    await rig.fleet.ensure_service(rig.service(FOREVER, replicas=0))
    await rig.fleet.create_container(f"{rig.instance}-one", rig.container("sleep", "1"))
    assert (await other.services(), await other.containers()) == ([], [])
    assert len(await rig.fleet.services()) == 1


async def test_containers_are_found_by_all_their_marks(rig: Rig) -> None:
    for name, marks in (("one", {"run": "1"}), ("two", {"run": "2"})):
        await rig.fleet.create_container(f"{rig.instance}-{name}", rig.container("sleep", "1", **marks))
    assert len(await rig.fleet.containers(app=Handle("shop"), kind="run")) == 2
    (found,) = await rig.fleet.containers(app=Handle("shop"), run="2")
    assert found["Names"] == [f"/{rig.instance}-two"]
    assert await rig.fleet.containers(app=Handle("blog"), run="2") == []


async def test_end_of_a_container_is_told(rig: Rig) -> None:
    heard = asyncio.Event()

    def hear(event: dict[str, Any]) -> None:
        if event.get("Action") == "die":
            heard.set()

    rig.fleet.events.listeners.append(hear)
    await run(rig, "exit 0")
    await asyncio.wait_for(heard.wait(), DEADLINE)
    assert rig.fleet.events.connected


@pytest.mark.parametrize(
    "path", ["/services/no-such", "/networks/no-such", "/volumes/no-such", "/containers/no-such/json"]
)
async def test_what_is_not_there_is_not_found(rig: Rig, path: str) -> None:
    with pytest.raises(NotFound) as caught:
        await rig.fleet.engine.get(path)
    assert caught.value.status == 404
    assert str(caught.value).startswith("docker engine: ")


async def test_name_that_is_taken_is_a_conflict(rig: Rig) -> None:
    spec = rig.service(FOREVER, replicas=0)
    await rig.fleet.engine.post("/services/create", spec)
    with pytest.raises(Conflict):
        await rig.fleet.engine.post("/services/create", spec)
    container = rig.container("sleep", "1")
    await rig.fleet.engine.post("/containers/create", container, name=f"{rig.instance}-one")
    with pytest.raises(Conflict):
        await rig.fleet.engine.post("/containers/create", container, name=f"{rig.instance}-one")


async def test_image_is_tagged_and_untagged(rig: Rig) -> None:
    tag = f"{rig.instance}/shop"
    await rig.fleet.engine.post(f"/images/{rig.image}/tag", repo=tag, tag="v1")
    found = await rig.fleet.engine.get("/images/json", filters={"reference": [tag]})
    assert [(item["Id"], f"{tag}:v1" in item["RepoTags"]) for item in found] == [(rig.image, True)]
    await rig.fleet.engine.delete(f"/images/{tag}:v1")
    with pytest.raises(NotFound):
        await rig.fleet.engine.delete(f"/images/{tag}:v1")
    with pytest.raises(NotFound):
        await rig.fleet.engine.post(f"/images/sha256:{'9' * 64}/tag", repo=tag, tag="v1")


async def test_engine_is_in_a_swarm(rig: Rig) -> None:
    assert (await rig.fleet.swarm()).state is SwarmState.WELL
    assert not await rig.fleet.ensure_swarm()
