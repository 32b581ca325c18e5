"""A new app from an old one: its commits and its settings, and none of its data."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from pathlib import Path

from gitreceive.push import HEADS, TAGS, make_repository
from runtime.apps import Apps, check_app_name
from runtime.errors import LockstepError
from runtime.model import Key
from runtime.parts import Parts
from runtime.store import Transaction


async def clone_app(
    parts: Parts, apps: Apps, operator: Key, app: str, new: str, *, with_values: bool
) -> tuple[str, ...]:
    """Make `new` with the commits, branch, settings and replicas of `app`; nothing of it runs yet.

    Returns the names of the config values that it lacks. Raises LockstepError, and then there is no new app.
    """
    check_app_name(new)
    with parts.store.read() as tx:
        if tx.apps.find(new) is not None:
            raise LockstepError(f"there is an app '{new}' already: choose another name")
        source, config = tx.apps.get(app), tx.apps.config(app)
        layer, scale = tx.apps.layer(app), tx.apps.scale(app)

    def settings(tx: Transaction) -> None:
        tx.apps.set_layer(new, layer)
        if source.branch is not None:
            tx.apps.set_branch(new, source.branch)
        for process, replicas in scale.items():
            tx.apps.set_scale(new, process, replicas)
        if with_values:
            tx.apps.replace_config(new, config, operator.name, parts.clock(), f"apps:clone of {app}")

    repository = parts.settings.repository_of
    made = repository(new).with_name(f".{new}-{secrets.token_hex(4)}")
    try:
        await _copy(repository(app), made)
        apps.create(new, settings)
        shutil.rmtree(repository(new), ignore_errors=True)  # of an app that is gone
        made.rename(repository(new))
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return () if with_values else tuple(sorted(config))


async def _copy(source: Path, target: Path) -> None:
    """The branches and tags of a repository; an empty one when nothing was pushed yet."""
    await make_repository(target)
    if not (source / "HEAD").exists():
        return
    git = await asyncio.create_subprocess_exec(
        *("git", "--git-dir", str(target), "fetch", "--quiet", "--no-tags", str(source)),
        *(f"+{refs}*:{refs}*" for refs in (HEADS, TAGS)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await git.communicate()
    if git.returncode:
        raise LockstepError(f"the repository could not be copied: {output.decode(errors='replace').strip()[:500]}")
