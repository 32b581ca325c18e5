"""Any order of deploys, config changes, failures and deaths keeps the promises of the design (DESIGN §1).

The observer looks at store, router and engine after every change; `check` looks at the whole at each rest.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from runtime.deployer import Outcome
from runtime.errors import LockstepError
from runtime.model import AppSpec, Health, Hook, Process, WorkerFailure
from tests.contract.fates import Fate, Fates
from tests.property.plant import APP, AWAY, Ended, Plant
from tests.unit.runtime import samples

SERVES = "python3 -m http.server"
WEBS = {
    "good": samples.web(command=SERVES),
    "two": samples.web(command=SERVES, replicas=2),
    "asked": samples.web(command=SERVES, health=Health(path="/", deadline=5.0)),
    "ends": samples.web(command="echo no; exit 3"),
    "deaf": samples.web(command="sleep 100000"),
    "unwell": samples.web(command=SERVES, health=Health(path="/missing", deadline=5.0)),
}
COMMANDS = {
    "good": "run for ever",
    "ends": "sleep 0.1; exit 3",
    "stubborn": "trap '' TERM; sleep 100000",
    "missing": "/no-such-program",
}
HOOKS = {
    "good": Hook(name="migrate", command="echo migrating; sleep 1"),
    "fails": Hook(name="migrate", command="echo no; exit 4", retries=1),
    "hangs": Hook(name="migrate", command="trap '' TERM; sleep 100000", timeout=5.0),
}

PARTS = 4  # for the cores to share
EXAMPLES = 8  # of each part; 800 of ten steps were tried when this was written

# How many calls a deploy makes: what befalls one is drawn from all of them.
calls = st.integers(1, 200)
plans = st.dictionaries(calls, st.sampled_from(list(Fate)), max_size=2)


@st.composite
def workers(draw: st.DrawFn, name: str) -> Process:
    command = COMMANDS[draw(st.sampled_from(["good", "good", "good", *COMMANDS]))]
    return samples.worker(name, command=command, replicas=draw(st.integers(0, 2)), grace=3.0)


@st.composite
def manifests(draw: st.DrawFn) -> AppSpec:
    kind = draw(st.sampled_from(["good", "good", "good", "none", *WEBS]))
    web = [] if kind == "none" else [WEBS[kind]]
    of_workers = [draw(workers(name)) for name in draw(st.sets(st.sampled_from(["mailer", "other"])))]
    hook = draw(st.sampled_from(["none", "none", *HOOKS]))
    return samples.spec(
        *(web + of_workers or [WEBS["good"]]),
        hooks=() if hook == "none" else (HOOKS[hook],),
        redis=draw(st.booleans()),
        persist=draw(st.sampled_from([(), ("data",)])),
        host=draw(st.sampled_from([None, "www.shop.ch"])),
        worker_failure=draw(st.sampled_from(WorkerFailure)),
    )


class ReleaseMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.plant = Plant()

    @initialize(spec=manifests())
    def begin(self, spec: AppSpec) -> None:
        self.plant.start_server()
        self._judge(spec, self.plant.attempt(self.plant.push(spec))[0], None)

    @rule(spec=manifests(), plan=plans)
    def push(self, spec: AppSpec, plan: dict[int, Fate]) -> None:
        before = self._befall(plan)
        self._judge(spec, self.plant.attempt(self.plant.push(spec))[0], before)

    @rule(value=st.sampled_from(["1", "2"]), plan=plans)
    def change_config(self, value: str, plan: dict[int, Fate]) -> None:
        before = self._befall(plan)
        self._judge(None, self.plant.attempt(self.plant.config(KEY=value))[0], before)

    @rule(replicas=st.integers(0, 2), plan=plans)
    def scale(self, replicas: int, plan: dict[int, Fate]) -> None:
        self._befall(plan)
        self.plant.attempt(self.plant.scale(mailer=replicas))
        self._rest()

    @rule(
        specs=st.tuples(manifests(), manifests(), manifests()), apart=st.sampled_from([0.0, 0.5, 1.2, 2.0]), plan=plans
    )
    def push_at_once(self, specs: tuple[AppSpec, ...], apart: float, plan: dict[int, Fate]) -> None:
        self._befall(plan)
        works = [self.plant.push(specs[0]), self.plant.config(KEY="3"), *map(self.plant.push, specs[1:])]
        self.plant.attempt(*works, apart=apart)
        self._rest()

    @rule(plan=plans)
    def restart_server(self, plan: dict[int, Fate]) -> None:
        self.plant.stop_server()
        try:
            self.plant.start_server(Fates(plan))
        except LockstepError:
            self.plant.stop_server()  # it said why, and its supervisor starts another
        self._rest()

    @rule()
    def restart_engine(self) -> None:
        self.plant.run(self.plant.swarm.restart_engine(AWAY))
        self._rest()

    def _befall(self, plan: dict[int, Fate]) -> int | None:
        """Have these calls, counted from now, befall what the plan says; the release that is live."""
        assert self.plant.server is not None
        fates = self.plant.server.fates
        fates.plan = {fates.count + number: fate for number, fate in plan.items()}
        return self._live()

    def _live(self) -> int | None:
        with self.plant.store.read() as tx:
            return tx.apps.get(APP).current_release

    def _judge(self, spec: AppSpec | None, ended: Ended, before: int | None) -> None:
        """A client that was told of success has its release live; one that was told of failure has the old one."""
        if isinstance(ended, Outcome):
            assert self._live() == ended.release.number, self.plant.tell("a live release is not live")
        elif isinstance(ended, LockstepError):
            assert self._live() == before, self.plant.tell(f"a failed deploy ({ended}) left another release live")
        self._rest()
        if isinstance(ended, Outcome):
            assert self._live() == ended.release.number, self.plant.tell("a live release did not stay live")

    def _rest(self) -> None:
        self.plant.check_moments()
        self.plant.recover()
        self.plant.check()

    def teardown(self) -> None:
        self.plant.close()


@pytest.mark.parametrize("part", range(PARTS))
def test_promises_are_kept(part: int) -> None:
    machine = type(f"ReleaseMachine{part}", (ReleaseMachine,), {})  # the name is what the examples are drawn from
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=8,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
    )
