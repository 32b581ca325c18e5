"""The push paragraph: what a `git push` does, from the refs it moves to the address of the live release."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from builder.build import Order, build_commit, plan_commit
from builder.model import Stack
from gitreceive.access import FETCH, PUSH, require
from gitreceive.model import Lines, Push, RefResult, RefUpdate
from gitreceive.record import Deed, recorded, write_down
from runtime.apps import Apps
from runtime.deployer import Deployer, Draft
from runtime.difference import difference
from runtime.ending import reason
from runtime.errors import LockstepError, UsageError, explain
from runtime.layer import merge
from runtime.locks import Superseded
from runtime.model import Deploy, Key, Release, Role, Sequel
from runtime.parts import Parts
from runtime.story import Story
from runtime.turns import BuildTurns

HEADS: Final = "refs/heads/"
TAGS: Final = "refs/tags/"
DEPLOY_BRANCHES: Final = ("main", "master")
ABSENT: Final = "0" * 40
OTHER_REFUSED: Final = "another ref of this atomic push is refused"
MESSAGE_LIMIT: Final = 200  # characters of -o message=
REFS_TOLD: Final = 5  # refs of one push that are named in the record
OPTIONS: Final = ("plan", "no-cache", "nowait", "message=…")
PLAN: Final = "refs/lockstep/plan"  # what a client is shown in the place of its branch, which stays


@dataclass(frozen=True)
class Options:
    """What `git push -o …` asks."""

    plan: bool = False
    no_cache: bool = False
    nowait: bool = False
    message: str | None = None


def read_options(words: tuple[str, ...]) -> Options:
    """Raises UsageError, naming it, for an option that is not known."""
    message = None
    for word in words:
        name, has_value, value = word.partition("=")
        if name == "message" and has_value:
            message = value[:MESSAGE_LIMIT]
        elif word not in ("plan", "no-cache", "nowait"):
            raise UsageError(f"push option '{word[:60]}' is not known: use one of {', '.join(OPTIONS)}")
    return Options("plan" in words, "no-cache" in words, "nowait" in words, message)


class Pushes:
    """Implements `gitreceive.model.PushDoor`."""

    def __init__(self, parts: Parts, deployer: Deployer, apps: Apps, stack: Stack) -> None:
        self._parts = parts
        self.deployer = deployer
        self.apps = apps
        self._stack = stack
        self.turns = BuildTurns(parts.settings.builds_at_once)
        deployer.move_ref = self.move_ref

    async def admit(self, operator: Key, app: str, *, write: bool, source: str = "") -> str:
        """The bare repository of the app; a first push makes both."""
        deed = Deed(operator.name, source, PUSH if write else FETCH, app)
        try:
            return await self._admit(operator, app, write, deed)
        except LockstepError as error:
            if write:
                write_down(self._parts, deed, explain(error))
            raise

    async def _admit(self, operator: Key, app: str, write: bool, deed: Deed) -> str:
        require(operator, Role.DEVELOPER if write else Role.VIEWER, app, command=deed.action)
        with self._parts.store.read() as tx:
            if not write:
                tx.apps.get(app)
            known = tx.apps.find(app) is not None
        if not known:
            self.apps.create(app)
            write_down(self._parts, dataclasses.replace(deed, action="apps:create", detail="by its first push"), "ok")
        repository = self._parts.settings.repository_of(app)
        if not (repository / "HEAD").exists():
            await make_repository(repository)
        return str(repository)

    async def push(self, push: Push, out: Lines) -> tuple[RefResult, ...]:
        """Answer each ref, and write down how the push ended."""
        deed = Deed(push.operator.name, push.source, PUSH, push.app, _told(push))
        results: tuple[RefResult, ...] = await recorded(
            self._parts, deed, lambda: self._push(push, out), ending=_ending
        )
        return results

    async def _push(self, push: Push, out: Lines) -> tuple[RefResult, ...]:
        """Store what does not deploy, deploy what does; each ref gets its own answer."""
        options = read_options(push.options)
        branch = self._deploy_branch(push, choose=not options.plan)
        refusals = {update.ref: _refusal(update, branch) for update in push.updates}
        if push.atomic and any(refusals.values()):
            return tuple(RefResult(ref, refused or OTHER_REFUSED) for ref, refused in refusals.items())
        results = []
        for update in push.updates:
            refused = refusals[update.ref]
            if refused is not None:
                results.append(RefResult(update.ref, refused))
            elif options.plan:
                results.append(await self._plan(push, update, branch, options, out))
            elif update.ref == f"{HEADS}{branch}":
                results.append(await self._deploy(push, update, options, out))
            else:
                if update.ref.startswith(HEADS) and update.new != ABSENT:
                    name = update.ref.removeprefix(HEADS)
                    out.write(f"{name} is stored and not deployed: {push.app} deploys {branch}")
                results.append(RefResult(update.ref))
        return tuple(results)

    def _deploy_branch(self, push: Push, *, choose: bool) -> str | None:
        """The app's branch; a first push has main or master, else the first branch it brings, and may `choose` it."""
        with self._parts.store.write() as tx:
            app = tx.apps.get(push.app)
            if app.branch is not None:
                return app.branch
            brought = [
                update.ref.removeprefix(HEADS)
                for update in push.updates
                if update.ref.startswith(HEADS) and update.new != ABSENT
            ]
            preferred = [name for name in DEPLOY_BRANCHES if name in brought]
            chosen = next(iter((*preferred, *brought)), None)
            if chosen is not None and choose:
                tx.apps.set_branch(push.app, chosen)
            return chosen

    async def _deploy(self, push: Push, update: RefUpdate, options: Options, out: Lines) -> RefResult:
        """Deploy one commit, and move its branch before the next deploy of the app can begin."""

        async def make(deploy: Deploy, story: Story) -> Draft:
            await self._check_follows(push.app, update)
            return await self._build(deploy, update.new, story, options.no_cache, options.message)

        try:
            await self.deployer.deploy(
                push.app,
                kind="push",
                who=push.operator.name,
                commit=update.new,
                make=make,
                story=Story(out.write),
                wait=0 if options.nowait else None,
                sequel=Sequel(ref=update.ref),
            )
        except LockstepError as error:
            return RefResult(update.ref, reason(error).splitlines()[0])
        return RefResult(update.ref, moved=True)

    async def _check_follows(self, app: str, update: RefUpdate) -> None:
        """The branch is where the pusher saw it, or at a commit before the new one, and can be moved to that.

        Raises Superseded when another push moved it elsewhere, LockstepError when git can not move it.
        """
        tip = await self._commit_of(app, update.ref)
        if tip not in (update.old, ABSENT):
            ahead, _ = await self._git(app, "merge-base", "--is-ancestor", tip, update.new)
            if ahead != 0:
                raise Superseded(
                    f"another push moved {update.ref.removeprefix(HEADS)} to {tip[:7]} meanwhile, "
                    f"which {update.new[:7]} does not follow: fetch, then push again"
                )
        try_out = f"start\nupdate {update.ref} {update.new}\nprepare\nabort\n"
        failed, output = await self._git(app, "update-ref", "--stdin", typed=try_out)
        if failed:
            raise LockstepError(f"{update.ref.removeprefix(HEADS)} can not be moved: {output.strip()}")

    async def move_ref(self, deploy: Deploy) -> None:
        """Have the branch of a push that is live be at its commit. Raises LockstepError."""
        if deploy.sequel is None or deploy.sequel.ref is None or deploy.commit is None:
            return
        failed, output = await self._git(deploy.app, "update-ref", deploy.sequel.ref, deploy.commit)
        if failed:
            raise LockstepError(f"{deploy.sequel.ref} of {deploy.app} is not moved: {output.strip()}")

    async def _plan(self, push: Push, update: RefUpdate, branch: str | None, options: Options, out: Lines) -> RefResult:
        """Say what a deploy of this commit would change; nothing is built, nothing moves."""
        story = Story(out.write)
        if update.ref != f"{HEADS}{branch}":
            kind = "tag" if update.ref.startswith(TAGS) else "branch"
            act = "removed" if update.new == ABSENT else "stored and not deployed"
            story.step(f"The {kind} {update.ref.removeprefix(HEADS).removeprefix(TAGS)} would be {act}")
            return RefResult(update.ref, instead=PLAN)
        with self._parts.store.read() as tx:
            live, layer = tx.releases.current(push.app), tx.apps.layer(push.app)
        try:
            asked, plan = await plan_commit(self._stack, self._order(push.app, update.new, options.no_cache), story)
            self.deployer.check_host(push.app, asked)
            spec = merge(asked, layer)
        except LockstepError as error:
            why = f"plan failed: {explain(error)}"
            story.trouble(why)
            return RefResult(update.ref, why.splitlines()[0])
        story.step(f"Plan for {push.app}: {'a first release' if live is None else f'a release after {live.label}'}")
        story.detail(
            f"image: built with {', '.join(plan.languages)}, {await self._source_change(push.app, live, update)}"
        )
        for line in difference(None if live is None else live.spec, spec):
            story.detail(line)
        story.headline("nothing was deployed and the branch did not move: push without -o plan to do it")
        return RefResult(update.ref, instead=PLAN)

    async def _source_change(self, app: str, live: Release | None, update: RefUpdate) -> str:
        if live is None:
            return "for the first time"
        _, changed = await self._git(app, "diff", "--shortstat", live.commit, update.new)
        return changed.strip() or f"from the same files as {live.label}"

    async def _tip(self, app: str, branch: str | None) -> str:
        """The commit that a branch is at; ABSENT when nothing was pushed to it."""
        there = branch is not None and (self._parts.settings.repository_of(app) / "HEAD").exists()
        return await self._commit_of(app, f"{HEADS}{branch}") if there else ABSENT

    async def _commit_of(self, app: str, ref: str) -> str:
        _, output = await self._git(app, "rev-parse", "--verify", "--quiet", ref)
        return output.strip() or ABSENT

    async def _git(self, app: str, *words: str, typed: str = "") -> tuple[int, str]:
        """Run git in the app's repository; its exit code and output."""
        git = await asyncio.create_subprocess_exec(
            *("git", "--git-dir", str(self._parts.settings.repository_of(app)), *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await git.communicate(typed.encode())
        return git.returncode or 0, output.decode(errors="replace")

    async def rebuild(self, app: str, who: str, story: Story, *, no_cache: bool) -> None:
        """Build the live commit again and take it live; of an app that is not live yet, the tip of its branch.

        Raises LockstepError when it has neither.
        """
        with self._parts.store.read() as tx:
            current, branch = tx.releases.current(app), tx.apps.get(app).branch
        commit = await self._tip(app, branch) if current is None else current.commit
        if commit == ABSENT:
            raise LockstepError(f"nothing of {app} is live: push to it")
        what = f"first build of {branch}" if current is None else f"rebuild of {current.label}"

        async def make(deploy: Deploy, story: Story) -> Draft:
            return await self._build(deploy, commit, story, no_cache, what)

        await self.deployer.deploy(app, kind="rebuild", who=who, commit=commit, make=make, story=story)

    async def _build(self, deploy: Deploy, commit: str, story: Story, no_cache: bool, message: str | None) -> Draft:
        """Build when it is the deploy's turn: builds are what a machine can do only few of at once."""
        order, wait = self._order(deploy.app, commit, no_cache), self._parts.settings.lock_wait
        heard = functools.partial(self.deployer.manifest_read, deploy.id)
        async with self.turns.turn(deploy, story, wait=wait, now=self._parts.clock()):
            built = await build_commit(self._parts.fleet.engine, self._stack, order, story, heard)
        return Draft(commit, built.image, built.spec, message or f"push of {commit[:7]}")

    def _order(self, app: str, commit: str, no_cache: bool) -> Order:
        settings, deadline = self._parts.settings, self._parts.settings.build_deadline
        with self._parts.store.read() as tx:
            handle = tx.apps.handle(app)
        return Order(settings.instance, handle, settings.repository_of(app), commit, no_cache, deadline)


def _told(push: Push) -> str:
    """What a push brings, for the record."""
    refs = [f"{update.ref.removeprefix(HEADS)} {update.new[:7]}" for update in push.updates[:REFS_TOLD]]
    more = [f"and {len(push.updates) - REFS_TOLD} more refs"] if len(push.updates) > REFS_TOLD else []
    return ", ".join((*refs, *more, *(f"-o {word}" for word in push.options)))


def _ending(results: tuple[RefResult, ...]) -> str:
    return next((result.error for result in results if result.error is not None), "ok")


def _refusal(update: RefUpdate, branch: str | None) -> str | None:
    """Why a ref may not move, None when it may."""
    if not update.ref.startswith((HEADS, TAGS)):
        return "only branches and tags are stored here"
    deployed = f"{HEADS}{branch}"
    if update.new == ABSENT and update.ref == deployed:
        return f"{branch} is what is deployed and can not be deleted"
    if update.new != ABSENT and (update.ref.startswith(f"{deployed}/") or deployed.startswith(f"{update.ref}/")):
        return f"git can not keep it beside {branch}, which is deployed: choose another name"
    return None


async def make_repository(path: Path) -> None:
    """An empty bare repository. Raises LockstepError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    git = await asyncio.create_subprocess_exec(
        *("git", "init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await git.communicate()
    if git.returncode:
        raise LockstepError(f"the repository {path} can not be made: {output.decode(errors='replace').strip()}")
