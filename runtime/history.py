"""Going back to a release that was live."""

from __future__ import annotations

from runtime.deployer import Deployer, Draft, Outcome
from runtime.errors import LockstepError
from runtime.layer import base_of
from runtime.model import Deploy, Release
from runtime.parts import Parts
from runtime.story import Story


async def roll_back(parts: Parts, deployer: Deployer, app: str, number: int | None, who: str, story: Story) -> Outcome:
    """Make a new release of an older one's image, spec and config, and take it live without a build.

    `number` None means the one that was live before. Raises LockstepError when there is none to go to.
    """
    target = _target(parts, app, number)

    async def make(_: Deploy, story: Story) -> Draft:
        story.step(f"Rolling back to {target.label}: {target.description}")
        with parts.store.read() as tx:
            layer = tx.releases.layer(app, target.number)
        what = f"rollback to {target.label}"
        return Draft(target.commit, target.image, base_of(target), what, target.config, layer)

    return await deployer.deploy(app, kind="rollback", who=who, commit=target.commit, make=make, story=story)


def _target(parts: Parts, app: str, number: int | None) -> Release:
    with parts.store.read() as tx:
        current = tx.apps.get(app).current_release
        known = tx.releases.of(app, limit=1000)
        gone = {release.number for release, _ in known} - {release.number for release in tx.releases.with_image(app)}
    if number is not None and number not in {release.number for release, _ in known}:
        raise LockstepError(f"{app} has no release v{number}: 'releases {app}' lists all")
    lived = {release.number: release for release, live_at in known if live_at is not None}
    if number is None:
        number = max((older for older in lived if current is not None and older < current), default=None)
    if number is None:
        raise LockstepError(f"{app} has no earlier release that was live: 'releases {app}' lists all")
    if number not in lived:
        raise LockstepError(f"v{number} of {app} was never live: choose one that was, 'releases {app}' lists all")
    if number in gone:
        raise LockstepError(f"the image of v{number} of {app} is gone: push its commit again")
    if number == current:
        raise LockstepError(f"v{number} of {app} is live already: choose another")
    return lived[number]
