"""What a recovery does about what was found, as a pure function: a look in, the lines to say and the work out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from runtime.engine.swarm import Swarm, SwarmState
from runtime.model import Release


@dataclass(frozen=True)
class AppFound:
    """What is there of one app that has a live release."""

    release: Release  # with the replicas that an operator asked for
    runs: bool  # the engine has all that the release says
    image: bool  # the engine has its image
    commit: bool  # the repository has its commit
    lost: tuple[str, ...] = ()  # folders to persist whose volume is not there
    kept: tuple[str, ...] = ()  # and those whose volume is


@dataclass(frozen=True)
class Found:
    """One look at everything; what is asked of the engine is asked in the swarm that it has."""

    swarm: Swarm
    apps: tuple[AppFound, ...] = ()  # those that have a live release
    strays: int = 0  # containers that a lost swarm left behind
    down: tuple[str, ...] = ()  # "router", "redis": needed by an app, and not running
    redis_lost: bool = False  # an app uses Redis, and the volume of its data is not there
    images_gone: tuple[tuple[str, int], ...] = ()  # (app, release) of releases that are not live


class Fate(StrEnum):
    """What becomes of an app."""

    STAYS = "runs, and stays so"
    START = "started again"
    REBUILD = "its image is gone; built again"
    PUSH = "its image is gone and its commit too; push it again"


@dataclass(frozen=True)
class Plan:
    """What is said before anything is done, and what is done then."""

    lines: tuple[str, ...]
    needed: bool
    leave: bool  # the broken swarm, before a new one is made
    fates: tuple[tuple[Release, Fate], ...]

    def apps(self, *fates: Fate) -> tuple[str, ...]:
        return tuple(release.app for release, fate in self.fates if fate in fates)


def plan_of(found: Found) -> Plan:
    """One line for each thing, in the order in which it is done."""
    fates = tuple((app.release, fate_of(app)) for app in found.apps)
    broken = found.swarm.state is SwarmState.BROKEN
    needed = (
        broken
        or any(fate is not Fate.STAYS for _, fate in fates)
        or bool(found.apps and (found.swarm.state is not SwarmState.WELL or found.down))
    )
    lines = (
        _swarm(found.swarm),
        *_leftovers(found),
        *_ground(found),
        *_volumes(found),
        *(_app(app, fate_of(app)) for app in found.apps),
        *_old_images(found),
    )
    return Plan(lines, needed, broken, fates)


def fate_of(app: AppFound) -> Fate:
    if not app.image:
        return Fate.REBUILD if app.commit else Fate.PUSH
    return Fate.STAYS if app.runs else Fate.START


def _swarm(swarm: Swarm) -> str:
    if swarm.state is SwarmState.WELL:
        return "swarm: well; it stays"
    if swarm.state is SwarmState.BROKEN:
        why = f" ({swarm.error})" if swarm.error else ""
        return f"swarm: broken{why}; it is left with all that the engine had in it, and a new one is made"
    return "swarm: gone; a new one is made"


def _leftovers(found: Found) -> Iterator[str]:
    if found.strays:
        yield f"leftovers: {_count(found.strays, 'container')} of a lost swarm; stopped and removed"


def _ground(found: Found) -> Iterator[str]:
    """Networks, base images and the platform's own containers: what all apps stand on."""
    if not found.apps:
        return
    if found.swarm.state is not SwarmState.WELL:
        yield f"networks: {len(found.apps)} of apps went with the swarm; made anew"
    if found.down:
        yield f"platform: {' and '.join(found.down)} not running; started"


def _volumes(found: Found) -> Iterator[str]:
    kept = sum(len(app.kept) for app in found.apps)
    if kept:
        yield f"volumes: {kept} there; kept with their files"
    lost = [f"{', '.join(app.lost)} of {app.release.app}" for app in found.apps if app.lost]
    if found.redis_lost:
        lost.append("the data of the shared redis")
    if lost:
        yield f"volumes lost: {'; '.join(lost)}; made anew, empty"


def _app(app: AppFound, fate: Fate) -> str:
    release = app.release
    parts = [f"{process.name} x{process.replicas}" for process in release.spec.processes]
    parts += [f"cron {job.name}" for job in release.spec.crons]
    how = f"{fate} from commit {release.commit[:7]}, as a new release" if fate is Fate.REBUILD else fate
    return f"{release.app} {release.label} ({', '.join(parts)}): {how}"


def _old_images(found: Found) -> Iterator[str]:
    if found.images_gone:
        gone = ", ".join(f"{app} v{number}" for app, number in found.images_gone)
        yield f"images of older releases gone: {gone}; 'rollback' can not go to them"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
