"""Services and their tasks as values, read from what the engine answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from runtime import names
from runtime.engine.specs import Spec

COMING: Final = frozenset({"new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting"})
ENDED: Final = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})
NO_COMMAND: Final = (126, 127)  # exit codes of the init process and of shells for a command that can not be run
NEVER_STARTED: Final = ("starting container failed", "No such image", "invalid mount config", "no such file")


@dataclass(frozen=True)
class Service:
    """One Swarm service of ours as the engine describes it."""

    id: str
    name: str
    version: int
    spec: Spec

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.spec.get("Labels") or {})

    @property
    def release(self) -> int | None:
        number = self.labels.get(names.RELEASE)
        return int(number) if number is not None and number.isdigit() else None

    @property
    def process(self) -> str:
        return self.labels.get(names.PROCESS, "")

    @property
    def kind(self) -> str:
        return self.labels.get(names.KIND, "")

    @property
    def replicas(self) -> int:
        return int(self.spec["Mode"]["Replicated"].get("Replicas", 0))

    @property
    def grace(self) -> float:
        """Seconds from SIGTERM to SIGKILL."""
        return float(self.spec["TaskTemplate"]["ContainerSpec"].get("StopGracePeriod", 10e9)) / 1e9


@dataclass(frozen=True)
class Task:
    """One attempt of Swarm to run one replica."""

    id: str
    slot: int
    state: str
    wanted: str  # the state Swarm wants it in
    error: str | None
    exit_code: int | None
    container: str | None
    address: str | None  # on the app's network
    since: datetime  # when it got into this state

    @property
    def running(self) -> bool:
        return self.state == "running" and self.wanted == "running"

    @property
    def failed(self) -> bool:
        """It ended although nobody asked it to, whatever its exit code."""
        return self.state in ("failed", "rejected") or (self.state == "complete" and self.wanted != "remove")

    @property
    def never_started(self) -> bool:
        """Starting it again would end the same way."""
        return (
            self.state == "rejected"
            or self.exit_code in NO_COMMAND
            or any(mark in (self.error or "") for mark in NEVER_STARTED)
        )


def service_in(item: dict[str, Any]) -> Service:
    return Service(item["ID"], item["Spec"]["Name"], item["Version"]["Index"], item["Spec"])


def task_in(item: dict[str, Any], network: str) -> Task:
    status = item["Status"]
    container = status.get("ContainerStatus") or {}
    addresses = [
        address.split("/")[0]
        for attachment in item.get("NetworksAttachments") or []
        if network in (attachment["Network"]["ID"], attachment["Network"]["Spec"]["Name"])
        for address in attachment.get("Addresses") or []
    ]
    return Task(
        id=item["ID"],
        slot=item.get("Slot", 0),
        state=status["State"],
        wanted=item["DesiredState"],
        error=status.get("Err"),
        exit_code=container.get("ExitCode") if status["State"] in ENDED else None,
        container=container.get("ContainerID") or None,
        address=addresses[0] if addresses else None,
        since=moment(status["Timestamp"]),
    )


def moment(text: str) -> datetime:
    """The engine's RFC 3339 text, which has nanoseconds, as a datetime."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}+00:00")
