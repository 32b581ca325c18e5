"""The release paragraph: how a release goes live, all of it or nothing.

`Cutover.run` tells the story in order; each step is idempotent, and what undoes a step is convergence to the
store's row (runtime.converge), so a failed step, a cancelled push and a killed server end the same way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from runtime import names
from runtime.alerts.raising import deploy_failed
from runtime.calm import CRON_WAIT, until_calm
from runtime.converge import Converger, prune_images, set_stage
from runtime.engine import specs
from runtime.engine.tasks import Service
from runtime.errors import DeployError, LockstepError, explain
from runtime.faults import fault_point
from runtime.idle import tell_stopped
from runtime.model import AppSpec, Deploy, DeployState, Health, Process, Release, WorkerFailure
from runtime.parts import Parts, hosts_of, place_of, route_in, scaled
from runtime.proof import Proof
from runtime.sequel import carry_out
from runtime.store import Transaction
from runtime.story import Story
from runtime.waiting import see_through, ticks, together

log = logging.getLogger(__name__)

WORTH_SAYING: Final = 15.0  # seconds of grace beyond which a pusher is told why nothing seems to happen

# From each state, where a deploy may go. FAILED and CANCELLED are only reached with the old release in place.
MOVES: Final[dict[DeployState, frozenset[DeployState]]] = {
    DeployState.QUEUED: frozenset({DeployState.BUILDING, DeployState.FAILED, DeployState.CANCELLED}),
    DeployState.BUILDING: frozenset({DeployState.PREPARE, DeployState.FAILED, DeployState.CANCELLED}),
    DeployState.PREPARE: frozenset({DeployState.PREDEPLOY, DeployState.UNDOING}),
    DeployState.PREDEPLOY: frozenset({DeployState.STAGE, DeployState.UNDOING}),
    DeployState.STAGE: frozenset({DeployState.QUIESCE, DeployState.UNDOING}),
    DeployState.QUIESCE: frozenset({DeployState.COMMIT, DeployState.UNDOING}),
    DeployState.COMMIT: frozenset({DeployState.SWITCH, DeployState.UNDOING}),
    DeployState.SWITCH: frozenset({DeployState.START, DeployState.UNDOING}),
    DeployState.START: frozenset({DeployState.RETIRE, DeployState.UNDOING}),
    DeployState.RETIRE: frozenset({DeployState.LIVE}),
    DeployState.UNDOING: frozenset({DeployState.FAILED, DeployState.CANCELLED}),
    DeployState.LIVE: frozenset(),
    DeployState.FAILED: frozenset(),
    DeployState.CANCELLED: frozenset(),
}

STEPS: Final = (
    DeployState.PREPARE,
    DeployState.PREDEPLOY,
    DeployState.STAGE,
    DeployState.QUIESCE,
    DeployState.COMMIT,
    DeployState.SWITCH,
    DeployState.START,
    DeployState.RETIRE,
)


@dataclass
class Progress:
    """The deploy as it stands, and since when it is in its state."""

    deploy: Deploy
    since: float  # monotonic seconds
    spec: AppSpec | None = None  # what the commit asks for, once its manifest was read

    def count(self, what: str, seconds: float) -> None:
        """Count so much of the time in its state under a name of its own."""
        self.deploy = self.deploy.model_copy(update={"phases": {**self.deploy.phases, what: round(seconds, 3)}})
        self.since += seconds


def move(parts: Parts, progress: Progress, state: DeployState, **changes: object) -> None:
    """The only function that changes a deploy's state: checks the move, times the state left, journals, logs.

    `commit` of the row happens with the move out of COMMIT, in the same transaction (see Cutover.commit).
    """
    with parts.store.write() as tx:
        deploy = _moved(parts, progress, state, changes)
        if state is DeployState.RETIRE and deploy.sequel is not None:  # from here nothing undoes it
            deploy = deploy.model_copy(update={"sequel": carry_out(tx, deploy.app, deploy.sequel)})
        tx.deploys.record(deploy, parts.clock())
        if state is DeployState.SWITCH:
            _make_current(tx, deploy, deploy.release, parts.clock())
        if state is DeployState.UNDOING and committed(progress.deploy.state) and not overtaken(tx, deploy):
            _make_current(tx, deploy, deploy.previous, parts.clock())
        if state is DeployState.RETIRE and deploy.release is not None:
            tx.releases.mark_live(deploy.app, deploy.release, parts.clock())
        if state is DeployState.FAILED:
            deploy_failed(tx, deploy, progress.spec, parts.clock())
        if state.ended or state is DeployState.RETIRE:
            tx.apps.let_go(deploy.app, deploy.id)
    log.info("deploy %d of %s: %s -> %s", deploy.id, deploy.app, progress.deploy.state.value, state.value)
    progress.deploy, progress.since = deploy, time.monotonic()


def _make_current(tx: Transaction, deploy: Deploy, number: int | None, now: datetime) -> None:
    """The commit: the app's row, and with it the config values and settings that belong to the release."""
    tx.apps.set_current(deploy.app, number)
    if number is not None:
        release = tx.releases.get(deploy.app, number)
        what = release.description if number == deploy.release else f"{deploy.kind} undone, back to {release.label}"
        tx.apps.set_layer(deploy.app, tx.releases.layer(deploy.app, number))
        tx.apps.replace_config(deploy.app, release.config, deploy.who, now, what)


def _moved(parts: Parts, progress: Progress, state: DeployState, changes: dict[str, object]) -> Deploy:
    old = progress.deploy
    if state not in MOVES[old.state]:
        raise LockstepError(f"deploy {old.id} can not go from {old.state.value} to {state.value}")
    spent = round(old.phases.get(old.state.value, 0.0) + time.monotonic() - progress.since, 3)
    ended = {"ended_at": parts.clock()} if state.ended else {}
    update = {"state": state, "phases": {**old.phases, old.state.value: spent}, **ended, **changes}
    return old.model_copy(update=update)


def _is_past(now: DeployState, step: DeployState) -> bool:
    return now in STEPS and STEPS.index(now) > STEPS.index(step)


def committed(state: DeployState) -> bool:
    return state in (DeployState.SWITCH, DeployState.START, DeployState.RETIRE, DeployState.LIVE)


def overtaken(tx: Transaction, deploy: Deploy) -> bool:
    """Whether another release has been committed since this deploy committed its own."""
    return tx.apps.get(deploy.app).current_release != deploy.release


class Cutover:
    """Takes one release live. `committed` tells whether the point of no return is behind."""

    def __init__(self, parts: Parts, progress: Progress, release: Release, story: Story) -> None:
        self.parts = parts
        self.progress = progress
        self.release = scaled(parts.store, release)
        self.story = story
        self.converger = Converger(parts)
        self.proof = Proof(parts)
        self.place = place_of(parts.settings, parts.store, release)
        self._quiesced_at: float | None = None  # ticks; None: no worker was stopped
        self._worker_pause: float | None = None

    @property
    def committed(self) -> bool:
        return committed(self.progress.deploy.state)

    async def run(self) -> None:
        """The whole way, or what is left of it when the deploy was begun by a server that stopped.

        Raises DeployError, with the old release in place again, when a step fails.
        """
        try:
            await self._step(DeployState.PREPARE, self.prepare)
            await self._step(DeployState.PREDEPLOY, self.predeploy)
            await self._step(DeployState.STAGE, self.stage)
            await self._step(DeployState.QUIESCE, self.quiesce)
            await self._step(DeployState.COMMIT, self.commit)
            await self._step(DeployState.SWITCH, self.switch)
            await self._step(DeployState.START, self.start)
            self._enter(DeployState.RETIRE, worker_pause=self._worker_pause)
        except BaseException as error:
            await see_through(self.undo(error))
            raise
        try:
            await self._step(DeployState.RETIRE, self.retire)
            move(self.parts, self.progress, DeployState.LIVE)
        except LockstepError as error:
            # The deploy stays in RETIRE: the reconciler goes on with it.
            self.story.trouble(f"{self.release.label} is live; the old release is not all gone yet: {explain(error)}")
            log.warning("retirement by deploy %d is not complete: %s", self.progress.deploy.id, explain(error))

    # ---- the steps ---------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Network, router's reach, volumes, credentials; the image gets the name that keeps it."""
        await set_stage(self.parts, self.release)
        self.place = place_of(self.parts.settings, self.parts.store, self.release)
        tag = names.image(self.parts.settings.instance, self.release.handle, self.release.number)
        repository, _, version = tag.rpartition(":")
        await self.parts.fleet.engine.post(f"/images/{self.release.image.id}/tag", repo=repository, tag=version)

    async def predeploy(self) -> None:
        """The fatal hooks, each as a container of the new image while the old release serves."""
        for hook in self.release.spec.hooks:
            self.story.topic = hook.name
            self.story.step(f"Running {hook.name}: {hook.command}")
            for attempt in range(hook.retries + 1):
                spec = specs.one_off_container(
                    self.release,
                    self.place,
                    kind=names.HOOK,
                    name=hook.name,
                    words=specs.hook_words(self.release, hook),
                    limits=hook.limits,
                    grace=10.0,
                )
                ticket = f"d{self.progress.deploy.id}-{attempt}"
                name = names.one_off(self.parts.settings.instance, self.release.app, hook.name, ticket)
                code = await self.parts.fleet.run_once(
                    name, spec, timeout=hook.timeout, grace=10.0, on_line=lambda line: self.story.detail(line.text)
                )
                if code == 0:
                    break
                why = f"did not end within {hook.timeout:g} s" if code is None else f"exited with {code}"
                self.story.trouble(f"{hook.name} {why} (attempt {attempt + 1} of {hook.retries + 1})")
            else:
                raise LockstepError(f"{hook.name} {why}")

    async def stage(self) -> None:
        """The new web runs and is proved healthy, not routed; the new workers are there with no replicas."""
        web = self.release.spec.web
        if web is None or web.replicas == 0:
            await together(*(self._ensure(worker, 0) for worker in self.release.spec.workers))
            return
        self.story.step(f"Starting web ({web.replicas} replica{'' if web.replicas == 1 else 's'})")
        idle = (self._ensure(worker, 0) for worker in self.release.spec.workers)
        service, *_ = await together(self._ensure(web, web.replicas), *idle)
        try:
            tasks = await self.proof.until_running(service, web.replicas)
            if web.port is not None:
                host = hosts_of(self.parts.settings, self.release)[0]
                addresses = tuple(task.address for task in tasks if task.address is not None)
                await self.proof.until_healthy(service, web.port, addresses, host, web.health or Health())
        except LockstepError as error:
            raise DeployError("stage", explain(error), await self.proof.last_lines(service)) from None

    async def quiesce(self) -> None:
        """From here no cron run starts, and in the end no worker of the old release runs."""
        app = self.release.app
        with self.parts.store.write() as tx:
            tx.apps.hold(app, self.progress.deploy.id)
        began = time.monotonic()
        if await until_calm(self.parts, app, self.story):
            self.progress.count(CRON_WAIT, time.monotonic() - began)
        there = await self.parts.fleet.services(self.release.handle)
        workers = [service for service in there if service.kind == names.WORKER]
        old = [service for service in workers if service.release != self.release.number]
        if old:
            self.story.step(f"Stopping workers of the old release: {', '.join(sorted(one.process for one in old))}")
            if (longest := max(service.grace for service in old)) > WORTH_SAYING:
                self.story.detail(f"they have up to {longest:g} s to end what they are at")
            self._quiesced_at = ticks()
        await self.parts.fleet.stop(old)

    async def commit(self) -> None:
        """The point of no return: `move` to SWITCH writes the row."""

    async def switch(self) -> None:
        with self.parts.store.read() as tx:
            target = route_in(tx, self.parts.settings, self.release)
        if target is None:
            await self.parts.router.forget(self.release.handle)
        else:
            await self.parts.router.point(target)

    async def start(self) -> None:
        """The new workers come up and are watched for a while; the scheduler may start runs again."""
        if workers := [worker for worker in self.release.spec.workers if worker.replicas]:
            self.story.step(f"Starting workers: {', '.join(_counted(worker) for worker in workers)}")
        tell_stopped(self.parts.store, self.release, self.story)
        await together(*(self._bring_up(worker) for worker in self.release.spec.workers))

    async def retire(self) -> None:
        """The old web drains and goes, with all that belongs to other releases."""
        self.parts.wake_scheduler()
        for phrase in await self.converger.remove_others(self.release):
            log.info("%s %s: %s", self.release.app, self.release.label, phrase)
        await prune_images(self.parts, self.release.app)

    async def undo(self, cause: BaseException) -> None:
        """Back to the release that was live when this deploy began."""
        state = DeployState.CANCELLED if isinstance(cause, asyncio.CancelledError) else DeployState.FAILED
        step = self.progress.deploy.state.value
        reason = f"cancelled in {step}" if state is DeployState.CANCELLED else explain(cause)
        try:
            move(self.parts, self.progress, DeployState.UNDOING, error=reason)
            previous = self.progress.deploy.previous
            self.story.trouble(reason)
            self.story.trouble(
                f"undoing: {'nothing was live before' if previous is None else f'v{previous} stays live'}"
            )
            fault_point(self.parts.settings, DeployState.UNDOING.value, "before")
            await self.converger.converge(self.release.app)
        except LockstepError as error:
            # The deploy stays in its state, in UNDOING if that could be written: the reconciler goes on with it.
            self.story.trouble(f"undoing is not complete and goes on in the background: {explain(error)}")
            log.exception("undo of deploy %d", self.progress.deploy.id)
            return
        fault_point(self.parts.settings, DeployState.UNDOING.value, "after")
        move(self.parts, self.progress, state)
        self.parts.wake_scheduler()

    # ---- what the steps are made of ----------------------------------------------------------------------

    async def _step(self, state: DeployState, work: Callable[[], Awaitable[None]]) -> None:
        if _is_past(self.progress.deploy.state, state):
            return
        self._enter(state)
        fault_point(self.parts.settings, state.value, "before")
        try:
            await work()
        except DeployError:
            raise
        except LockstepError as error:
            raise DeployError(state.value, explain(error)) from error
        fault_point(self.parts.settings, state.value, "after")

    def _enter(self, state: DeployState, **changes: object) -> None:
        if self.progress.deploy.state is not state:
            move(self.parts, self.progress, state, **changes)

    async def _bring_up(self, worker: Process) -> None:
        """Running, and still running after the settle window; what else happens is the app's policy."""
        service = await self._ensure(worker, worker.replicas)
        if worker.replicas == 0:
            return
        try:
            await self.proof.until_running(service, worker.replicas)
            self._note_pause()
            await self.proof.until_settled(service, self.parts.settings.settle)
        except LockstepError as error:
            tail = await self.proof.last_lines(service)
            if self.release.spec.worker_failure is WorkerFailure.UNDO:
                raise DeployError("start", explain(error), tail) from None
            self.story.trouble(f"worker {worker.name} is not up: {explain(error)}")
            self.story.trouble(f"the release stays live and {worker.name} is started again and again")
            for line in tail:
                self.story.detail(line)

    async def _ensure(self, process: Process, replicas: int) -> Service:
        spec = specs.process_service(self.release, process, self.place, replicas=replicas)
        return await self.parts.fleet.ensure_service(spec)

    def _note_pause(self) -> None:
        if self._quiesced_at is not None:
            self._worker_pause = ticks() - self._quiesced_at


def _counted(process: Process) -> str:
    return process.name if process.replicas == 1 else f"{process.name} x{process.replicas}"
