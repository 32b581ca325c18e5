"""What a deploy tells its pusher, told to the log of the app as well; secrets are blotted out by the story."""

from __future__ import annotations

from collections.abc import Callable

from runtime.logbook.entry import Entry, LogKind, stamp
from runtime.model import Deploy, DeployState
from runtime.parts import Parts
from runtime.story import Story

DETAIL = " " * 7  # in front of a detail in a story; a log line needs no such column


def tell_log(parts: Parts, story: Story, deploy: Callable[[], Deploy]) -> None:
    """From now on `story` is told to the app's log too; `deploy` is asked where the deploy stands."""

    def write(line: str) -> None:
        now = deploy()
        kind = kind_of(now, story.topic)
        process = story.topic if kind is LogKind.PREDEPLOY and story.topic is not None else _name(now)
        entry = Entry(
            stamp(parts.clock()), kind, process, line.removeprefix(DETAIL), release=now.release, deploy=now.id
        )
        parts.logbook.add(now.app, entry)

    story.also(write)


def kind_of(deploy: Deploy, topic: str | None) -> LogKind:
    """By the step under way; what is about a hook has the hook as its topic."""
    if deploy.state in (DeployState.QUEUED, DeployState.BUILDING):
        return LogKind.BUILD
    about_hook = deploy.state is DeployState.PREDEPLOY and topic is not None
    return LogKind.PREDEPLOY if about_hook else LogKind.DEPLOY


def _name(deploy: Deploy) -> str:
    """The release that it makes, as soon as that has a number."""
    return f"d{deploy.id}" if deploy.release is None else f"v{deploy.release}"
