"""A deploy from its first row to its last: the lock, the making of the release, the release paragraph."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from runtime.deploylog import DeployLogs
from runtime.ending import tell_failure, tell_success
from runtime.errors import DeployError, LockstepError, ManifestError, SourceError, explain
from runtime.hosts import owner_of
from runtime.layer import Layer, merge
from runtime.locks import AppLocks
from runtime.logbook.telling import tell_log
from runtime.model import AppSpec, Deploy, DeployState, Image, Release, Secret
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
        once_live: Callable[[], Awaitable[None]] | None = None,
    ) -> Outcome:
        """Make a release and take it live. `wait` bounds the wait for the app's lock in seconds;
        `once_live` is done before the next deploy of the app may begin.

        Cancelled before the commit point, it leaves the old release as it was; after it, the deploy goes on
        without its caller. Raises DeployError (with the phase), or another LockstepError before any phase.
        """
        began = time.monotonic()
        deploy = self._begin(app, kind, who, commit)
        with self.logs.open(app, deploy.id) as log:
            story.also(log.write)
            progress = Progress(deploy, time.monotonic())
            tell_log(self._parts, story, lambda: progress.deploy)
            try:
                outcome = await self._cancellable(progress, self._attempt(progress, make, story, wait, once_live))
            except LockstepError as error:
                tell_failure(story, app, error)
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
        """What the commit of a deploy under way asks for, before its image is built: it tells whom a failure tells."""
        self._attempts[number].progress.spec = spec

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
        once_live: Callable[[], Awaitable[None]] | None,
    ) -> Outcome:
        wait = self._parts.settings.lock_wait if wait is None else wait
        async with self.locks.hold(progress.deploy, story, wait=wait, now=self._parts.clock()):
            release = await self._make(progress, make, story)
            cutover = Cutover(self._parts, progress, release, story)
            await self._see_through(cutover, once_live)
        return Outcome(progress.deploy, release)

    async def stop(self, deadline: float) -> None:
        """Wait for deploys that are past their commit point."""
        if self._past_return:
            await asyncio.wait(self._past_return, timeout=deadline)

    def _begin(self, app: str, kind: str, who: str, commit: str | None) -> Deploy:
        with self._parts.store.write() as tx:
            current = tx.apps.get(app).current_release
            return tx.deploys.begin(app, kind, who, commit, current, self._parts.clock())

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
            self._check_host(deploy.app, spec)
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

    def _check_host(self, app: str, spec: AppSpec) -> None:
        """The manifest asks for no host name at which another app answers."""
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

    async def _see_through(self, cutover: Cutover, once_live: Callable[[], Awaitable[None]] | None) -> None:
        """Run the paragraph so that a cancelled caller stops it before the commit point and not after.

        The app's lock is held until it has ended either way, however often the caller is cancelled.
        """
        begun = False

        async def whole() -> None:
            nonlocal begun
            begun = True
            await cutover.run()
            if once_live is not None:
                await once_live()

        task = asyncio.create_task(whole(), name=f"deploy {cutover.progress.deploy.id}")
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if cutover.committed:
                self._past_return.add(task)
                task.add_done_callback(self._past_return.discard)
            else:
                task.cancel()
            await see_through(self._end_of(task))
            if not begun:
                await see_through(cutover.undo(error))
            raise

    async def _end_of(self, task: asyncio.Task[None]) -> None:
        await asyncio.gather(task, return_exceptions=True)

    def _close(self, progress: Progress, error: BaseException, by: str | None) -> None:
        """End a deploy that did not reach the paragraph; the paragraph closes its own."""
        if progress.deploy.state not in (DeployState.QUEUED, DeployState.BUILDING):
            return
        cancelled = isinstance(error, asyncio.CancelledError)
        state = DeployState.CANCELLED if cancelled else DeployState.FAILED
        reason = f"cancelled by {by or 'its client, who went away'}" if cancelled else explain(error)
        move(self._parts, progress, state, error=reason)


def _phase_of(error: LockstepError) -> str:
    """What a pusher calls the part of the build step that failed."""
    if isinstance(error, ManifestError):
        return "manifest"
    return "source" if isinstance(error, SourceError) else DeployState.BUILDING.value
