"""When the server must not start: its apps were in a swarm that is not there, and making one is not its decision."""

from __future__ import annotations

from runtime.engine.swarm import Swarm, SwarmState
from runtime.errors import SwarmLost
from runtime.parts import Parts


async def require_swarm(parts: Parts) -> None:
    """Raises SwarmLost, naming the next step, unless the engine's swarm is well, or is gone and nothing was in it."""
    complaint = swarm_complaint(parts, await parts.fleet.swarm())
    if complaint is not None:
        raise SwarmLost(complaint)


def swarm_complaint(parts: Parts, swarm: Swarm) -> str | None:
    """What is wrong with the engine's swarm and what to do; None where the server does all that is needed."""
    refusal = unusable(swarm)
    if refusal is not None:
        return refusal
    with parts.store.read() as tx:
        live = sum(app.current_release is not None for app in tx.apps.all())
    if swarm.state is SwarmState.BROKEN or (swarm.state is SwarmState.NONE and live):
        why = f" ({swarm.error})" if swarm.error else ""
        count = "1 app is" if live == 1 else f"{live or 'no'} apps are"
        return (
            f"the engine's swarm is {swarm.state}{why} and {count} live: "
            f"run 'lockstep recover --home {parts.settings.home}'"
        )
    return None


def unusable(swarm: Swarm) -> str | None:
    """Why apps can not run in a swarm that is not ours to change; None for every other."""
    return {
        SwarmState.LOCKED: "the engine's swarm is locked: run 'docker swarm unlock', then try again",
        SwarmState.WORKER: (
            "the engine is a worker of another one's swarm: run 'docker swarm leave' there, then try again"
        ),
        SwarmState.COMING: (
            "the engine's swarm does not come up: restart the engine, or give its swarm up with "
            "'docker swarm leave --force', then try again"
        ),
    }.get(swarm.state)
