"""A deploy from its first row to its last: the lock, the making of the release, the release paragraph."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from runtime.converge import Converger
from runtime.deploylog import DeployLogs
from runtime.ending import tell_failure, tell_success
from runtime.errors import DeployError, LockstepError, ManifestError, SourceError, explain
from runtime.hosts import owner_of
from runtime.layer import Layer, merge
from runtime.locks import AppLocks, Locked, Superseded
from runtime.logbook.telling import tell_log
from runtime.model import AppSpec, Deploy, DeployState, Image, Release, Secret, Sequel
from runtime.parts import Parts
from runtime.release import Cutover, Progress, committed, move
from runtime.story import Story
from runtime.waiting import see_through

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Draft:
    """What becomes a release once it has a number."""

    commit: str
    image: Image
    spec: AppSpec  # as the manifest alone has it
    description: str
    config: dict[str, str] | None = None  # None: the app's values as they are now
    layer: Layer | None = None  # None: the app's settings as they are now


@dataclass(frozen=True)
class Outcome:
    """A deploy that is live."""

    deploy: Deploy
    release: Release


@dataclass
class Attempt:
    """A deploy under way in this process."""

    deploy: Deploy
    progress: Progress
    task: asyncio.Task[Outcome]
    cancelled_by: str | None = None


Maker = Callable[[Deploy, Story], Awaitable[Draft]]


class Deployer:
    """Runs deploys; different apps at the same time, one app's one after the other."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.locks = AppLocks()
        self.logs = DeployLogs(parts.settings.logs)
        self._attempts: dict[int, Attempt] = {}
        self._past_return: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.move_ref: Callable[[Deploy], Awaitable[None]] = _move_no_ref  # by whoever has the repositories

    async def deploy(
        self,
        app: str,
        *,
        kind: str,
        who: str,
        commit: str | None,
        make: Maker,
        story: Story,
        wait: float | None = None,
        sequel: Sequel | None = None,
    ) -> Outcome:
        """Make a release and take it live. `wait` bounds the wait for the app's lock in seconds;
        `sequel` is done before the next deploy of the app may begin, by the next server if this one ends.

        Cancelled before the commit point, it leaves the old release as it was; after it, the deploy goes on
        without its caller. Raises DeployError (with the phase), or another LockstepError before any phase.
        """
        began = time.monotonic()
        deploy = self._begin(app, kind, who, commit, sequel)
        with self.logs.open(app, deploy.id) as log:
            story.also(log.write)
            progress = Progress(deploy, time.monotonic())
            tell_log(self._parts, story, lambda: progress.deploy)
            try:
                outcome = await self._cancellable(progress, self._attempt(progress, make, story, wait))
            except LockstepError as error:
                tell_failure(story, deploy, error)
                raise
            tell_success(
                story,
                self._parts.settings,
                outcome.deploy,
                outcome.release,
                seconds=time.monotonic() - began,
            )
        return outcome

    def works_on(self, number: int) -> bool:
        """Whether this process is at work on a deploy, be it waiting for its turn."""
        return number in self._attempts

    def manifest_read(self, number: int, spec: AppSpec) -> None:
        """What the commit of a deploy under way asks for, before its image is built: it tells whom a failure tells.

        Raises ManifestError when it can not go live whatever is built.
        """
        attempt = self._attempts[number]
        attempt.progress.spec = spec
        self.check_host(attempt.deploy.app, spec)

    def cancel(self, app: str, who: str, number: int | None = None) -> Deploy:
        """Stop the deploy of `app` that is under way, or the one of that number, also while it waits.

        Raises LockstepError when there is none to stop, or when it is past its commit point.
        """
        holder = self.locks.holder(app)
        wanted = number if number is not None else holder.id if holder is not None else None
        attempt = self._attempts.get(wanted) if wanted is not None else None
        if attempt is None or attempt.deploy.app != app:
            raise LockstepError(f"no such deploy of {app} is under way: 'deploys {app}' shows how the last ones ended")
        with self._parts.store.read() as tx:
            state = tx.deploys.get(attempt.deploy.id).state
        if committed(state):
            raise LockstepError(f"deploy {attempt.deploy.id} is live already ({state.value}): use 'rollback {app}'")
        attempt.cancelled_by = who
        attempt.task.cancel()
        return attempt.deploy

    async def _cancellable(self, progress: Progress, work: Coroutine[Any, Any, Outcome]) -> Outcome:
        """Run an attempt so that `cancel` can stop it without stopping the session that waits for it."""
        deploy = progress.deploy
        task = asyncio.create_task(work, name=f"attempt {deploy.id}")
        attempt = self._attempts[deploy.id] = Attempt(deploy, progress, task)
        try:
            return await task
        except BaseException as error:
            self._close(progress, error, attempt.cancelled_by)  # here, since an attempt may end before it begins
            if isinstance(error, asyncio.CancelledError) and attempt.cancelled_by is not None:
                raise LockstepError(f"deploy {deploy.id} was cancelled by {attempt.cancelled_by}") from None
            raise
        finally:
            del self._attempts[deploy.id]

    async def _attempt(
        self,
        progress: Progress,
        make: Maker,
        story: Story,
        wait: float | None,
    ) -> Outcome:
        wait = self._parts.settings.lock_wait if wait is None else wait
        async with self.locks.hold(progress.deploy, story, wait=wait, now=self._parts.clock()):
            release = await self._make(progress, make, story)
            cutover = Cutover(self._parts, progress, release, story)
            await self._see_through(cutover)
        return Outcome(progress.deploy, release)

    async def stop(self, deadline: float) -> None:
        """Begin no deploy any more, cancel those before their commit point, and wait for all to end."""
        self._stopping = True
        for attempt in self._attempts.values():
            if not committed(attempt.progress.deploy.state):
                attempt.cancelled_by = "the server, which is stopping"
                attempt.task.cancel()
        left = {*self._past_return, *(attempt.task for attempt in self._attempts.values())}
        if left:
            await asyncio.wait(left, timeout=deadline)

    def _begin(self, app: str, kind: str, who: str, commit: str | None, sequel: Sequel | None) -> Deploy:
        if self._stopping:
            raise LockstepError("the server is stopping: try again when it is back")
        with self._parts.store.write() as tx:
            current = tx.apps.get(app).current_release
            return tx.deploys.begin(app, kind, who, commit, current, self._parts.clock(), sequel)

    async def _make(self, progress: Progress, make: Maker, story: Story) -> Release:
        deploy = progress.deploy
        with self._parts.store.read() as tx:
            previous = tx.apps.get(deploy.app).current_release
            known = set(tx.apps.config(deploy.app).values())
        story.hide(tuple(map(Secret, known)))
        move(self._parts, progress, DeployState.BUILDING, previous=previous)
        try:
            draft = self._layered(deploy.app, await make(deploy, story))
            spec = merge(draft.spec, draft.layer or Layer())
            self.check_host(deploy.app, spec)
        except Superseded:
            raise
        except LockstepError as error:
            raise DeployError(_phase_of(error), explain(error)) from error
        release = self._record(progress.deploy, draft, spec)
        story.hide(tuple(map(Secret, known | set(release.config.values()))))
        move(self._parts, progress, DeployState.PREPARE, release=release.number)
        return release

    def _layered(self, app: str, draft: Draft) -> Draft:
        """The draft with the settings of the app that are to be part of it."""
        if draft.layer is not None:
            return draft
        with self._parts.store.read() as tx:
            return dataclasses.replace(draft, layer=tx.apps.layer(app))

    def check_host(self, app: str, spec: AppSpec) -> None:
        """Raises ManifestError when the manifest asks for a host name at which another app answers."""
        if spec.host is not None:
            with self._parts.store.read() as tx:
                owner = owner_of(tx, self._parts.settings, spec.host, app)
            if owner is not None:
                raise ManifestError(f"{spec.dialect.value}: {spec.host} is in use by another app: choose another host")

    def _record(self, deploy: Deploy, draft: Draft, spec: AppSpec) -> Release:
        with self._parts.store.write() as tx:
            release = Release(
                app=deploy.app,
                own_handle=tx.apps.get(deploy.app).own_handle,
                number=tx.releases.next_number(deploy.app),
                commit=draft.commit,
                image=draft.image,
                spec=spec,
                asked=None if spec == draft.spec else draft.spec,
                config=tx.apps.config(deploy.app) if draft.config is None else draft.config,
                created_at=self._parts.clock(),
                created_by=deploy.who,
                description=draft.description,
            )
            tx.releases.add(release, draft.layer)
        return release

    async def follow_up(self, deploy: Deploy) -> None:
        """Do what is left to follow a deploy that is live. Raises LockstepError; called again, it goes on."""
        if deploy.sequel is None:
            return
        await self.move_ref(deploy)
        with self._parts.store.write() as tx:
            tx.deploys.followed(deploy)

    async def _see_through(self, cutover: Cutover) -> None:
        """Run the paragraph so that a cancelled caller stops it before the commit point and not after.

        The app's lock is held until it has ended either way, however often the caller is cancelled.
        """
        begun = False

        async def whole() -> None:
            nonlocal begun
            begun = True
            sequel = cutover.progress.deploy.sequel
            await cutover.run()
            if sequel is not None and sequel.replicas:
                await Converger(self._parts).converge(cutover.release.app)
            try:
                await self.follow_up(cutover.progress.deploy)
            except LockstepError as error:
                cutover.story.trouble(f"live, and not all is done yet: {explain(error)}; it is tried again")

        task = asyncio.create_task(whole(), name=f"deploy {cutover.progress.deploy.id}")
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if cutover.committed:
                deploy, story = cutover.progress.deploy, cutover.story
                rest = f"'deploys:log {deploy.app} {deploy.id} -f' shows the rest"
                story.trouble(f"deploy {deploy.id} is past its commit point and goes on: {rest}")
                self._past_return.add(task)
                task.add_done_callback(self._past_return.discard)
            else:
                task.cancel()
            await see_through(self._end_of(task))
            if not begun:
                await see_through(cutover.undo(error))
            if cutover.committed and self._was_cancelled(cutover.progress.deploy) and task.exception() is None:
                return  # it was past its commit point when the cancellation came
            raise

    def _was_cancelled(self, deploy: Deploy) -> bool:
        """By `cancel` or `stop`, and not by the end of its session."""
        return self._attempts[deploy.id].cancelled_by is not None

    async def _end_of(self, task: asyncio.Task[None]) -> None:
        await asyncio.gather(task, return_exceptions=True)

    def _close(self, progress: Progress, error: BaseException, by: str | None) -> None:
        """End a deploy that did not reach the paragraph; the paragraph closes its own."""
        if progress.deploy.state not in (DeployState.QUEUED, DeployState.BUILDING):
            return
        if isinstance(error, asyncio.CancelledError):
            state, reason = DeployState.CANCELLED, f"cancelled by {by or 'its client, who went away'}"
        else:  # one that gave way to another is nothing that anybody has to mend
            gave_way = isinstance(error, Superseded | Locked)
            state, reason = DeployState.CANCELLED if gave_way else DeployState.FAILED, explain(error)
        move(self._parts, progress, state, error=reason)


async def _move_no_ref(deploy: Deploy) -> None:
    raise LockstepError(f"there are no repositories here, in which a ref of {deploy.app} could be moved")


def _phase_of(error: LockstepError) -> str:
    """What a pusher calls the part of the build step that failed."""
    if isinstance(error, ManifestError):
        return "manifest"
    return "source" if isinstance(error, SourceError) else DeployState.BUILDING.value
