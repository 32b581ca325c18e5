"""Proving that a process runs and answers: what is said when it does not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runtime.engine.events import Events
from runtime.engine.tasks import Service, Task
from runtime.errors import DeadlinePassed, LockstepError, NotFound
from runtime.model import Health
from runtime.parts import Parts
from runtime.proof import BY_OTHERS, OUT_OF_MEMORY, TRY, UNKNOWN, Proof
from runtime.router import Answer
from tests.property.virtual import VirtualLoop
from tests.unit.runtime.samples import NOW

SERVICE = Service(
    "s", "shop-web-v1", 1, {"Labels": {"lockstep.process": "web"}, "TaskTemplate": {"ContainerSpec": {"Image": "i"}}}
)


class Stage:
    """An engine with one service and a router, both as these tests want them; time passes as fast as it can."""

    def __init__(self, *answers: Answer, takes: float = 0.0, exposed: tuple[str, ...] = ()) -> None:
        self.answers = list(answers)
        self.takes = takes
        self.exposed = exposed
        self.tasks: list[Task] = []
        self.containers: dict[str, bool] = {}  # id -> whether it ran out of memory
        fleet = SimpleNamespace(events=Events(cast(Any, None), "test"), engine=self, tasks=self.tasks_of)
        settings = SimpleNamespace(health_deadline=60.0)
        self.proof = Proof(cast(Parts, SimpleNamespace(fleet=fleet, router=self, settings=settings)))

    async def tasks_of(self, service: Service) -> list[Task]:
        return self.tasks

    async def ask(self, address: str, port: int, host: str, path: str | None, deadline: float) -> Answer:
        assert deadline == TRY
        await asyncio.sleep(self.takes)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def get(self, path: str) -> dict[str, Any]:
        if path == "/images/i/json":
            return {"Config": {"ExposedPorts": {port: {} for port in self.exposed} or None}}
        container = path.split("/")[2]
        if container not in self.containers:
            raise NotFound(f"docker engine: No such container: {container}")
        return {"State": {"OOMKilled": self.containers[container]}}

    def prove(self, path: str | None = None) -> str:
        """What is said when web is to be proved healthy; empty when it is."""
        proving = self.proof.until_healthy(SERVICE, 8000, ("10.0.0.2",), "shop.localhost", Health(path=path))
        loop = VirtualLoop()
        try:
            loop.run_until_complete(proving)
        except LockstepError as error:
            return str(error)
        finally:
            loop.close()
        return ""


def ended(code: int, container: str | None = "c") -> Task:
    return Task("t", 1, "failed", "shutdown", None, code, container, None, NOW)


def test_answer_in_time_is_enough() -> None:
    assert Stage(Answer(503), Answer(None), Answer(200)).prove("/h") == ""


def test_answer_that_is_late_every_time_is_said() -> None:
    """The last try may end after the deadline: nothing else is said in its place."""
    for takes in (TRY, TRY - 0.1, TRY - 1):
        assert Stage(Answer(None, late=True), takes=takes).prove("/h") == (
            "an answer of web at /h did not happen within 60 s: "
            "it has 5 s for each answer, name a path with a quicker one"
        )


@pytest.mark.parametrize(
    ("exposed", "hint"),
    [((), ""), (("3000/tcp",), " (its image exposes 3000)"), (("80/tcp", "443/tcp"), ""), (("8000/tcp",), "")],
)
def test_web_that_does_not_listen_is_told_where_to(exposed: tuple[str, ...], hint: str) -> None:
    assert Stage(Answer(None), exposed=exposed).prove() == (
        "an answer of web on port 8000 did not happen within 60 s: "
        f"let it listen on 0.0.0.0:$PORT, or give its port in the manifest{hint}"
    )


def test_answer_that_is_no_success_is_said() -> None:
    assert Stage(Answer(503)).prove("/h") == (
        "an answer below 400 of web at /h (the last one was 503) did not happen within 60 s"
    )


def test_end_of_web_is_said_at_once() -> None:
    stage = Stage(Answer(None))
    stage.tasks = [ended(3)]
    assert stage.prove() == "web exited with 3 after its start"


@pytest.mark.parametrize(
    ("container", "containers", "meaning"),
    [
        ("c", {"c": True}, OUT_OF_MEMORY),
        ("c", {"c": False}, BY_OTHERS),
        ("c", {}, UNKNOWN),
        (None, {}, UNKNOWN),
    ],
)
async def test_who_killed_it_is_asked_of_its_container(
    container: str | None, containers: dict[str, bool], meaning: str
) -> None:
    stage = Stage(Answer(None))
    stage.tasks, stage.containers = [ended(137, container)], containers
    with pytest.raises(LockstepError) as caught:
        await stage.proof.until_settled(SERVICE, 1.0)
    assert str(caught.value) == f"web exited with 137 after its start: {meaning}"


def test_advice_follows_what_was_waited_for() -> None:
    assert str(DeadlinePassed("rain", 2, "look up")) == "rain did not happen within 2 s: look up"
