"""`lockstep recover`: the plan of runtime.recovery said, then carried out with the parts of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gitreceive.push import Pushes
from gitreceive.server_process import prepare, prepare_logging, refuse_while_running
from gitreceive.wiring import open_parts
from runtime.errors import LockstepError, UsageError, explain
from runtime.parts import Parts
from runtime.reconcile import Reconciler
from runtime.recovery.act import WHO, bring_back, forget_images, renew_swarm
from runtime.recovery.check import Report, check_all
from runtime.recovery.look import look
from runtime.recovery.plan import Fate, Plan, plan_of
from runtime.renaming import move_folders
from runtime.settings import Settings
from runtime.store import prepare_store
from runtime.story import Story

Say = Callable[[str], None]


async def recover(settings: Settings, say: Say, *, yes: bool) -> bool:
    """Whether every app is well now; without `yes` only the plan is said. Raises UsageError when it needs `yes`."""
    prepare_logging(settings)
    with refuse_while_running(settings):
        prepare_store(settings.database)
        async with open_parts(settings) as bare:
            move_folders(bare)
            found = await look(bare, lambda app, commit: _has_commit(settings, app, commit))
            plan = plan_of(found)
            if not plan.needed:
                say("nothing to recover: the engine has all that the live releases need")
                return True
            say(f"-----> Found, and what becomes of it with --yes{': carried out now' if yes else ''}")
            for line in plan.lines:
                say(f"       {line}")
            if not yes:
                raise UsageError("nothing was changed: add --yes to do all this")
            await renew_swarm(bare, plan)
            parts, pushes = await prepare(bare, say)
            forget_images(parts, found.images_gone)
            return await _carry_out(parts, pushes, plan, say)


async def _carry_out(parts: Parts, pushes: Pushes, plan: Plan, say: Say) -> bool:
    """Apps that need no build first, since they are back soonest."""
    say("-----> Starting the apps")
    await bring_back(parts, plan.apps(Fate.STAYS, Fate.START))
    failed = {app: why for app in plan.apps(Fate.REBUILD) if (why := await _rebuild(pushes, app, say)) is not None}
    for app in plan.apps(Fate.PUSH):
        failed[app] = "its image is gone and its commit too: start the server, then push it again"
    await Reconciler(parts, pushes.deployer).start()
    say("-----> Looking at each app")
    reports = {app: Report(app, False, why) for app, why in failed.items()}
    reports |= await check_all(parts, tuple(app for app in plan.apps(*Fate) if app not in failed))
    for app in plan.apps(*Fate):
        report = reports[app]
        say(f"{'ok  ' if report.well else 'FAIL'}  {report.app:<10} {report.detail}")
    say(f"now start the server: lockstep serve --home {parts.settings.home}")
    return all(report.well for report in reports.values())


async def _rebuild(pushes: Pushes, app: str, say: Say) -> str | None:
    """Build the live commit again and take it live as `rebuild` does; why that failed."""
    say(f"-----> Building {app} again")
    try:
        await pushes.rebuild(app, WHO, Story(say), no_cache=False)
    except LockstepError as error:
        return f"it could not be built again: {explain(error)}: start the server, then push to it"
    return None


async def _has_commit(settings: Settings, app: str, commit: str) -> bool:
    git = await asyncio.create_subprocess_exec(
        *("git", "--git-dir", str(settings.repository_of(app)), "cat-file", "-e", f"{commit}^{{tree}}"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await git.wait() == 0
