"""Whether the engine is in a swarm that apps can run in, read from what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

CERTIFICATE_LIFE: Final = 10 * 365 * 24 * 3600 * 1_000_000_000  # nanoseconds; a box may be off for years (moby#42660)
NEW_SWARM: Final = {
    "ListenAddr": "127.0.0.1:2377",
    "AdvertiseAddr": "127.0.0.1",
    "Spec": {"CAConfig": {"NodeCertExpiry": CERTIFICATE_LIFE}, "TaskDefaults": {}, "Labels": {}},
}


class SwarmState(StrEnum):
    """Where the engine stands; the value is what a person is told of its swarm."""

    WELL = "well"  # a manager, which is what apps need
    NONE = "gone"
    BROKEN = "broken"  # there and not usable: an expired certificate, lost data
    COMING = "coming up"
    LOCKED = "locked"  # an operator's key is needed
    WORKER = "another one's"  # the engine is a worker in a swarm that is managed elsewhere


@dataclass(frozen=True)
class Swarm:
    """The engine's swarm at one moment."""

    state: SwarmState
    error: str = ""  # why it is broken, in the engine's words


def swarm_in(info: dict[str, Any]) -> Swarm:
    """The swarm of an engine that answers so to /info."""
    found = info["Swarm"]
    state, error = str(found["LocalNodeState"]), " ".join(str(found.get("Error") or "").split())
    if state == "active" and found["ControlAvailable"]:
        return Swarm(SwarmState.WELL)
    if state in ("", "inactive"):
        return Swarm(SwarmState.NONE)
    if state == "locked":
        return Swarm(SwarmState.LOCKED)
    if state == "error" or error:
        return Swarm(SwarmState.BROKEN, error)
    return Swarm(SwarmState.COMING if state == "pending" else SwarmState.WORKER)
