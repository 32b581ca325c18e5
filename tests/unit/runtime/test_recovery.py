"""What a recovery makes of what it finds, and what the engine's own words about its swarm mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from runtime.engine.client import refusal
from runtime.engine.events import Events
from runtime.engine.fleet import Fleet
from runtime.engine.swarm import Swarm, SwarmState, swarm_in
from runtime.errors import EngineError, NotFound, SwarmLost
from runtime.recovery.plan import AppFound, Fate, Found, Plan, plan_of
from runtime.recovery.refusal import swarm_complaint
from tests.unit.gitreceive.desk import parts_without_engine
from tests.unit.runtime.samples import NOW, cron, new_store, release, web, worker

WELL, GONE = Swarm(SwarmState.WELL), Swarm(SwarmState.NONE)
BROKEN = Swarm(SwarmState.BROKEN, "certificate has expired")


def app(name: str = "shop", **changes: Any) -> AppFound:
    found = release(web(), worker(replicas=2), app=name, number=3, crons=(cron(),))
    return AppFound(**{"release": found, "runs": True, "image": True, "commit": True, **changes})


# ---- the plan ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "needed"),
    [
        (Found(WELL), False),
        (Found(WELL, (app(),)), False),
        (Found(WELL, (app(),), images_gone=(("shop", 1),)), False),
        (Found(GONE), False),  # the server makes a swarm itself
        (Found(BROKEN), True),
        (Found(GONE, (app(runs=False),)), True),
        (Found(GONE, (app(),)), True),
        (Found(WELL, (app(runs=False),)), True),
        (Found(WELL, (app(image=False),)), True),
        (Found(WELL, (app(),), down=("router",)), True),
    ],
)
def test_what_needs_a_recovery(found: Found, needed: bool) -> None:
    assert plan_of(found).needed is needed


@pytest.mark.parametrize(
    ("changes", "fate"),
    [
        ({}, Fate.STAYS),
        ({"runs": False}, Fate.START),
        ({"runs": False, "commit": False}, Fate.START),
        ({"image": False}, Fate.REBUILD),
        ({"image": False, "commit": False}, Fate.PUSH),
    ],
)
def test_fate_of_an_app(changes: dict[str, Any], fate: Fate) -> None:
    plan = plan_of(Found(GONE, (app(**changes), app("blog"))))
    assert (plan.apps(fate)[0], plan.apps(*Fate)) == ("shop", ("shop", "blog"))


def test_every_thing_has_its_line() -> None:
    shop = app(runs=False, kept=("uploads",), lost=("cache", "records"))
    blog, wiki = app("blog", image=False), app("wiki", image=False, commit=False)
    found = Found(BROKEN, (shop, blog, wiki), 4, ("router", "redis"), True, (("shop", 1), ("shop", 2)))
    table = "(web x1, mailer x2, cron nightly)"
    assert plan_of(found) == Plan(
        (
            "swarm: broken (certificate has expired); it is left with all that the engine had in it, and a new one is "
            "made",
            "leftovers: 4 containers of a lost swarm; stopped and removed",
            "networks: 3 of apps went with the swarm; made anew",
            "platform: router and redis not running; started",
            "volumes: 1 there; kept with their files",
            "volumes lost: cache, records of shop; the data of the shared redis; made anew, empty",
            f"shop v3 {table}: started again",
            f"blog v3 {table}: its image is gone; built again from commit 1a2b3c4, as a new release",
            f"wiki v3 {table}: its image is gone and its commit too; push it again",
            "images of older releases gone: shop v1, shop v2; 'rollback' can not go to them",
        ),
        needed=True,
        leave=True,
        fates=((shop.release, Fate.START), (blog.release, Fate.REBUILD), (wiki.release, Fate.PUSH)),
    )


def test_a_good_swarm_stays() -> None:
    plan = plan_of(Found(WELL, (app(runs=False),)))
    assert (plan.lines[0], plan.leave) == ("swarm: well; it stays", False)


# ---- the engine's words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "manages", "error", "swarm"),
    [
        ("active", True, "", WELL),
        ("inactive", False, "", GONE),
        ("", False, "", GONE),
        ("error", False, "certificate\n has expired", BROKEN),
        ("active", False, "certificate has expired", BROKEN),
        ("pending", False, "certificate has expired", BROKEN),
        ("pending", False, "", Swarm(SwarmState.COMING)),
        ("locked", False, "", Swarm(SwarmState.LOCKED)),
        ("active", False, "", Swarm(SwarmState.WORKER)),
    ],
)
def test_swarm_of_an_engine(state: str, manages: bool, error: str, swarm: Swarm) -> None:
    info = {"Swarm": {"LocalNodeState": state, "ControlAvailable": manages, "Error": error}}
    assert swarm_in(info) == swarm


def test_an_engine_without_a_swarm_names_the_way_out() -> None:
    said = b'{"message":"This node is not a swarm manager. Use \\"docker swarm init\\" or ..."}'
    error = refusal(503, said)
    assert isinstance(error, SwarmLost)
    assert str(error) == (
        "the engine is in no swarm: if that lasts, stop the server and run 'lockstep recover --home DIR'"
    )
    assert not isinstance(refusal(503, b'{"message":"another trouble"}'), SwarmLost)


@pytest.mark.parametrize(
    ("swarm", "live", "complaint"),
    [
        (WELL, 2, None),
        (GONE, 0, None),
        (GONE, 1, "the engine's swarm is gone and 1 app is live: run 'lockstep recover --home {home}'"),
        (GONE, 2, "the engine's swarm is gone and 2 apps are live: run 'lockstep recover --home {home}'"),
        (
            BROKEN,
            0,
            "the engine's swarm is broken (certificate has expired) and no apps are live: "
            "run 'lockstep recover --home {home}'",
        ),
        (
            Swarm(SwarmState.LOCKED),
            0,
            "the engine's swarm is locked: run 'docker swarm unlock', then try again",
        ),
        (
            Swarm(SwarmState.COMING),
            1,
            "the engine's swarm does not come up: restart the engine, or give its swarm up with "
            "'docker swarm leave --force', then try again",
        ),
        (
            Swarm(SwarmState.WORKER),
            1,
            "the engine is a worker of another one's swarm: run 'docker swarm leave' there, then try again",
        ),
    ],
)
def test_when_the_server_does_not_start(tmp_path: Path, swarm: Swarm, live: int, complaint: str | None) -> None:
    store = new_store(tmp_path)
    with store.write() as tx:
        for name in ("shop", "blog", "wiki"):
            tx.apps.create(name, NOW)
        for name in ("shop", "blog")[:live]:
            tx.releases.add(release(web(), app=name))
            tx.apps.set_current(name, 1)
    told = swarm_complaint(parts_without_engine(tmp_path, store), swarm)
    store.close()
    assert told == (None if complaint is None else complaint.format(home=tmp_path))


# ---- a container that is to be on a network that is lost ----------------------------------------------------------


class Script:
    """An engine with one container on one network."""

    def __init__(self) -> None:
        self.starts = True
        self.network = True
        self.swarm = "active"
        self.calls: list[str] = []
        self.made: dict[str, Any] = {}

    async def get(self, path: str, **params: Any) -> Any:
        if path == "/info":
            return {"Swarm": {"LocalNodeState": self.swarm, "ControlAvailable": self.swarm == "active"}}
        if not (self.network if path == "/networks/n1" else "old" in self.made):
            raise NotFound("docker engine: it is not there", 404)
        networks = {"lockstep-shop": {"NetworkID": "n1"}}
        return {"Id": "old", "Config": self.made["old"], "NetworkSettings": {"Networks": networks}}

    async def post(self, path: str, body: Any = None, **params: Any) -> Any:
        self.calls.append(f"POST {path}")
        if path == "/containers/old/start" and not self.starts:
            raise EngineError("docker engine: it can not be started", 500)
        if path == "/containers/create":
            name = "new" if self.made else "old"
            self.made[name] = body
            return {"Id": name}
        return None

    async def delete(self, path: str, **params: Any) -> None:
        self.calls.append(f"DELETE {path}")


async def ensured(**state: Any) -> tuple[str, list[str]]:
    """Which container is there after the second call, and what that call did, on an engine in this state."""
    script = Script()
    fleet = Fleet(cast(Any, script), Events(cast(Any, script), "lockstep"), "lockstep")
    spec = {"Image": "lockstep/platform:latest", "Labels": {}}
    assert await fleet.ensure_container("router", spec) == "old"
    script.calls.clear()
    for name, value in state.items():
        setattr(script, name, value)
    return await fleet.ensure_container("router", spec), script.calls


async def test_a_container_of_a_lost_network_is_replaced() -> None:
    container, calls = await ensured(starts=False, network=False, swarm="inactive")
    assert container == "new"
    assert calls == [
        "POST /containers/old/start",
        "DELETE /containers/old",
        "POST /containers/create",
        "POST /containers/new/start",
    ]


async def test_a_container_that_starts_stays() -> None:
    assert await ensured(network=False) == ("old", ["POST /containers/old/start"])


@pytest.mark.parametrize("state", [{}, {"network": False, "swarm": "pending"}])
async def test_a_container_whose_networks_may_be_there_stays(
    state: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.engine.fleet.SWARM_DEADLINE", 0.01)
    with pytest.raises(EngineError, match="it can not be started"):
        await ensured(starts=False, **state)


# ---- a swarm that two instances make at once ----------------------------------------------------------------------


class Newborn:
    """An engine without a swarm, in which another instance makes one just before ours asks for it."""

    def __init__(self, refusal: str) -> None:
        self.states = ["inactive"]
        self._refusal = refusal

    async def get(self, path: str, **params: Any) -> Any:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {"Swarm": {"LocalNodeState": state, "ControlAvailable": state == "active"}}

    async def post(self, path: str, body: Any = None, **params: Any) -> Any:
        self.states = ["pending", "pending", "active"]
        raise EngineError(f"docker engine: {self._refusal}", 503)


async def test_a_swarm_that_another_instance_made_meanwhile_will_do() -> None:
    engine = cast(Any, Newborn('This node is already part of a swarm. Use "docker swarm leave" to leave this swarm'))
    fleet = Fleet(engine, Events(engine, "lockstep"), "lockstep")
    assert await fleet.ensure_swarm() is False
    assert engine.states == ["active"]


async def test_an_engine_that_can_have_no_swarm_is_told() -> None:
    engine = cast(Any, Newborn("could not choose an IP address to advertise"))
    with pytest.raises(EngineError, match="could not choose"):
        await Fleet(engine, Events(engine, "lockstep"), "lockstep").ensure_swarm()
