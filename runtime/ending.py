"""The last lines of a deploy's story."""

from __future__ import annotations

from runtime.calm import CRON_WAIT
from runtime.errors import DeployError, LockstepError, explain
from runtime.model import Deploy, Release
from runtime.parts import hosts_of
from runtime.settings import Settings
from runtime.story import Story

PHASES = {
    "build": ("build",),
    "prepare": ("prepare",),
    "hooks": ("predeploy",),
    "stage": ("stage",),
    "wait for cron runs": (CRON_WAIT,),
    "stop workers": ("quiesce",),
    "switch": ("commit", "switch"),
    "start workers": ("start",),
    "retire": ("retire",),
}
WORTH_SAYING = 0.005  # seconds


def tell_success(story: Story, settings: Settings, deploy: Deploy, release: Release, *, seconds: float) -> None:
    """Where the release answers, and what took how long."""
    spent = {name: sum(deploy.phases.get(state, 0.0) for state in states) for name, states in PHASES.items()}
    story.step("Timing")
    story.detail(" · ".join(f"{name} {took:.2f} s" for name, took in spent.items() if took >= WORTH_SAYING))
    if deploy.worker_pause is not None:
        story.detail(f"cut-over {deploy.cut_over:.2f} s · no worker ran for {deploy.worker_pause:.2f} s")
    story.headline(f"{release.app} {release.label} is live after {seconds:.1f} s")
    if release.spec.web is not None:
        for host in hosts_of(settings, release):
            story.detail(settings.url_of(host))


def tell_failure(story: Story, deploy: Deploy, error: LockstepError) -> None:
    """The phase, the cause, the last lines of the log and the next command."""
    if isinstance(error, DeployError) and error.log_tail:
        story.trouble("last lines of its log:")
        for line in error.log_tail:
            story.detail(line)
    story.trouble(reason(error))
    again = f"correct it and {'push' if deploy.kind == 'push' else 'try'} again; "
    first = again if isinstance(error, DeployError) else ""
    story.trouble(f"next: {first}'ps {deploy.app}' shows what runs, 'deploys {deploy.app}' what was tried")


def reason(error: LockstepError) -> str:
    """ "PHASE failed: CAUSE"."""
    return f"{error.phase if isinstance(error, DeployError) else 'deploy'} failed: {explain(error)}"
