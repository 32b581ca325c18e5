"""Making the world what the store says: at start-up, when the engine reports a change, and every 30 seconds."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from typing import Any, Final

from runtime import names
from runtime.converge import Converger
from runtime.deployer import Deployer
from runtime.ending import tell_failure, tell_success
from runtime.errors import LockstepError, explain
from runtime.logbook.telling import tell_log
from runtime.model import Deploy, DeployState
from runtime.names import Handle
from runtime.parts import Parts, routes_of
from runtime.release import Cutover, Progress, committed, move, overtaken
from runtime.router import Plan
from runtime.story import Story
from runtime.survey import Stranger, lacks, survey, wanted_of

log = logging.getLogger(__name__)

PERIOD: Final = 30.0  # seconds between rounds without an event
QUIET: Final = 1.0  # seconds that a burst of events is left to end
WHO: Final = "reconciler"


class Reconciler:
    """Never touches an app whose deploy is under way."""

    def __init__(self, parts: Parts, deployer: Deployer) -> None:
        self._parts = parts
        self._deployer = deployer
        self._converger = Converger(parts)
        self._stirred = asyncio.Event()
        parts.fleet.events.listeners.append(self._hear)

    async def start(self) -> None:
        """End every deploy that a stopped server left open, then make all apps what their rows say."""
        with self._parts.store.read() as tx:
            open_deploys = tx.deploys.unfinished()
        # Before the routes: a server that died while it undid a deploy has left workers of the new release running.
        for app in dict.fromkeys(deploy.app for deploy in open_deploys):
            await self._converger.stop_foreign_workers(app)
        await self._parts.router.load(lambda: (routes_of(self._parts.settings, self._parts.store), frozenset()))
        for deploy in open_deploys:
            await self._end(deploy)
        await self.round()

    async def run(self) -> None:
        """Round after round. Cancel to stop."""
        while True:
            try:
                async with asyncio.timeout(PERIOD):
                    await self._stirred.wait()
                await asyncio.sleep(QUIET)
            except TimeoutError:
                pass
            self._stirred.clear()
            try:
                await self.round()
            except Exception as error:
                log.exception("a round of the reconciler ended early; the next one comes")
                self._record(None, "reconcile", "the whole round", f"internal error: {type(error).__name__}")

    async def round(self) -> None:
        """Look at everything once and put right what is not so; what fails is recorded and tried again in the next."""
        for work, what in (
            (self._platform, "router and redis"),
            (self._apps, "apps"),
            (self._routes, "routes"),
            (self._sequels, "what follows live deploys"),
        ):
            try:
                await work()
            except LockstepError as error:
                log.warning("%s could not be reconciled: %s", what, explain(error))
                self._record(None, "reconcile", what, explain(error))

    async def _platform(self) -> None:
        """The router and the shared Redis run, as containers of ours."""
        parts = self._parts
        found = await parts.fleet.containers(kind=names.PLATFORM)
        running = {name.removeprefix("/") for item in found if item["State"] == "running" for name in item["Names"]}
        if parts.router.container not in running:
            await parts.router.ensure(parts.platform_image)
            self._record(None, "reconcile", "started the router", "ok")
        if parts.redis.container not in running:
            with parts.store.read() as tx:
                users = tx.apps.redis_users()
            await parts.redis.ensure(parts.platform_image, users)
            self._record(None, "reconcile", "started the shared redis", "ok")

    async def _apps(self) -> None:
        seen = await survey(self._parts)
        with self._parts.store.read() as tx:
            unended = {deploy.app for deploy in tx.deploys.unfinished()}
            wanted = [wanted_of(tx, self._parts.settings.instance, app) for app in tx.apps.all()]
        for want in wanted:
            if want.app.name in unended or lacks(self._parts, seen, want):
                async with self._deployer.locks.quietly(want.app.name) as free:
                    if free:
                        await self._put_right(want.app.name)
        for handle in seen.services.keys() - {want.app.handle for want in wanted}:
            await self._tell_of(handle, self._converger.clear(handle))
        for stranger in seen.strangers:
            await self._detach(stranger)

    async def _put_right(self, app: str) -> None:
        for deploy in self._left_over(app):
            await self._end(deploy)
        await self._tell_of(app, self._converger.converge(app))

    async def _tell_of(self, app: str, work: Awaitable[list[str]]) -> None:
        """Record what was put right, if anything was."""
        try:
            done = await work
        except LockstepError as error:
            log.warning("%s could not be reconciled: %s", app, explain(error))
            self._record(app, "reconcile", "", explain(error))
            return
        if done:
            log.info("%s reconciled: %s", app, ", ".join(done))
            self._record(app, "reconcile", ", ".join(done), "ok")

    def _left_over(self, app: str) -> list[Deploy]:
        """Deploys that nobody works on any more: their undoing failed, or the store did not take their end."""
        with self._parts.store.read() as tx:
            found = tx.deploys.unfinished(app)
        return [deploy for deploy in found if not self._deployer.works_on(deploy.id)]

    async def _detach(self, stranger: Stranger) -> None:
        """Nobody else's container hears or reaches an app on its own network."""
        detail = f"detached the foreign container {stranger.name} from {stranger.network}"
        app = self._name_of(stranger.app)
        try:
            await self._parts.fleet.detach(stranger.container, stranger.network)
        except LockstepError as error:
            self._record(app, "reconcile", detail, explain(error))
            return
        self._record(app, "reconcile", detail, "ok")

    async def _routes(self) -> None:
        def plan() -> Plan:
            routes = routes_of(self._parts.settings, self._parts.store)
            with self._parts.store.read() as tx:
                unended = {deploy.app for deploy in tx.deploys.unfinished()}
                # One whose undoing failed has a row that is ahead of its workers: requests stay until those are gone.
                busy = frozenset(
                    app.handle for app in tx.apps.all() if app.name in unended or self._deployer.locks.held(app.name)
                )
            return tuple(target for target in routes if target.app not in busy), busy

        for handle, phrase in await self._parts.router.load(plan):
            app = None if handle is None else self._name_of(handle)
            log.info("%s reconciled: %s", app or "the router", phrase)
            self._record(app, "reconcile", phrase, "ok")

    async def _end(self, deploy: Deploy) -> None:
        """Finish or undo a deploy that was under way when the server stopped."""
        progress = Progress(deploy, time.monotonic())
        stopped_in = deploy.state.value
        with self._deployer.logs.open(deploy.app, deploy.id) as kept:
            story = Story(kept.write)
            tell_log(self._parts, story, lambda: progress.deploy)
            story.trouble(f"the server stopped in {stopped_in}; this is the next one")
            try:
                await self._end_by_state(progress, story)
            except LockstepError as error:
                if not progress.deploy.state.ended:
                    log.warning("deploy %d of %s could not be ended: %s", deploy.id, deploy.app, explain(error))
                    story.trouble(f"it is not ended yet, which is tried again: {explain(error)}")
                    self._record(deploy.app, "recover", f"deploy {deploy.id}, stopped in {stopped_in}", explain(error))
                    return
                tell_failure(story, deploy, error)
        how = progress.deploy.state.value
        self._record(deploy.app, "recover", f"deploy {deploy.id}, stopped in {stopped_in}: {how}", "ok")

    async def _end_by_state(self, progress: Progress, story: Story) -> None:
        deploy = progress.deploy
        if deploy.state in (DeployState.QUEUED, DeployState.BUILDING):
            move(self._parts, progress, DeployState.FAILED, error=f"the server stopped in {deploy.state.value}")
            story.trouble(f"nothing was changed; next: push again, 'deploys {deploy.app}' shows what was tried")
        elif committed(deploy.state) and not self._overtaken(deploy):
            await self._finish(progress, story)
        elif deploy.state is DeployState.RETIRE:
            move(self._parts, progress, DeployState.LIVE)  # what it left is no longer its to remove
            story.headline(f"{deploy.app} v{deploy.release} was live, until another release followed it")
        else:
            await self._undo(progress)
            live = "nothing is live" if deploy.previous is None else f"v{deploy.previous} stays live"
            story.trouble(f"undone: {live}; next: push again, 'deploys {deploy.app}' shows what was tried")

    async def _sequels(self) -> None:
        """Do what was to follow deploys that are live, and was not done."""
        with self._parts.store.read() as tx:
            left = tx.deploys.to_follow()
        for deploy in left:
            async with self._deployer.locks.quietly(deploy.app) as free:
                if free:
                    await self._deployer.follow_up(deploy)

    def _overtaken(self, deploy: Deploy) -> bool:
        with self._parts.store.read() as tx:
            return overtaken(tx, deploy)

    async def _finish(self, progress: Progress, story: Story) -> None:
        assert progress.deploy.release is not None
        with self._parts.store.read() as tx:
            release = tx.releases.get(progress.deploy.app, progress.deploy.release)
        await Cutover(self._parts, progress, release, story).run()
        spent = sum(progress.deploy.phases.values())
        tell_success(story, self._parts.settings, progress.deploy, release, seconds=spent)

    async def _undo(self, progress: Progress) -> None:
        if progress.deploy.state is not DeployState.UNDOING:
            stopped_in = progress.deploy.state.value
            move(self._parts, progress, DeployState.UNDOING, error=f"the server stopped in {stopped_in}")
        await self._converger.converge(progress.deploy.app)
        move(self._parts, progress, DeployState.FAILED)

    def _name_of(self, handle: Handle) -> str:
        """What the app is called; one that is gone, as it is on the engine."""
        with self._parts.store.read() as tx:
            return tx.apps.name_of(handle) or handle

    def _record(self, app: str | None, action: str, detail: str, result: str) -> None:
        with self._parts.store.write() as tx:
            tx.events.add(who=WHO, app=app, action=action, detail=detail, result=result, now=self._parts.clock())

    def _hear(self, event: dict[str, Any]) -> None:
        """A container that began or ended, an object removed, a stream that was broken: each calls for a look."""
        if event.get("Action") in ("start", "die", "destroy", "remove", "lost"):
            self._stirred.set()
