"""The one family of errors that a person may see.

A message is one lowercase sentence that names the thing and the next step. `exit_code` is what the
client's command ends with; the codes are part of the contract (README, "Exit codes").
"""

from __future__ import annotations

from typing import ClassVar


class LockstepError(Exception):
    """Something failed and the message says what and what to do next (exit code 1)."""

    exit_code: ClassVar[int] = 1


class UsageError(LockstepError):
    """The words of a command do not fit it (exit code 2)."""

    exit_code: ClassVar[int] = 2


class NoSuchApp(LockstepError):
    """No app of that name, or none that this key may see (exit code 20)."""

    exit_code: ClassVar[int] = 20


class SettingsError(LockstepError):
    """lockstep.toml or a LOCKSTEP_* variable is missing or wrong."""


class ManifestError(LockstepError):
    """The manifest of a commit is wrong; the message begins with the file and the key's path."""


class SourceError(LockstepError):
    """The tree of a commit holds something that can not be built: an unsafe path, a symlink out of it."""


class BuildError(LockstepError):
    """The image of a commit could not be made."""


class EngineError(LockstepError):
    """The Docker engine refused a request or could not be reached."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status  # the HTTP status of the answer, None when there was no answer


class EngineUnreachable(EngineError):
    """No answer came from the engine's socket."""


class NotFound(EngineError):
    """The engine has no object of that name."""


class Conflict(EngineError):
    """The engine has such an object already, or the object is in use."""


class SwarmLost(EngineError):
    """The engine is no manager of a swarm (any more), so that it has no services."""


class StoreError(LockstepError):
    """The store can not be opened or was written by a newer Lockstep."""


class RouterError(LockstepError):
    """The router did not take a change, or does not answer."""


class ServiceError(LockstepError):
    """A shared service (Redis) did not take a change, or does not answer."""


class DeployError(LockstepError):
    """A deploy ended without its release being live; `phase` is the step that failed."""

    def __init__(self, phase: str, message: str, log_tail: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.phase = phase
        self.log_tail = log_tail


class DeadlinePassed(LockstepError):
    """A named wait took longer than its deadline; `advice` is the next step, where there is one."""

    def __init__(self, waiting_for: str, seconds: float, advice: str | None = None) -> None:
        super().__init__(f"{waiting_for} did not happen within {seconds:g} s{f': {advice}' if advice else ''}")
        self.waiting_for = waiting_for
        self.seconds = seconds


class Refused(LockstepError):
    """The key that asks is not allowed to do that."""


def explain(error: BaseException) -> str:
    """The sentence a person reads: the message and, joined with ': ', those of its causes."""
    parts: list[str] = []
    current: BaseException | None = error
    while current is not None:
        text = str(current).strip() or type(current).__name__
        if not any(text in part for part in parts):
            parts.append(text)
        current = current.__cause__
    return ": ".join(parts)
