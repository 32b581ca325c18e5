"""Named points at which a test instance dies or stands still, to prove that it comes back whole."""

from __future__ import annotations

import os
import signal
from typing import Final

from runtime.settings import Settings

PAUSE: Final = ":pause"


def fault_point(settings: Settings, step: str, moment: str) -> None:
    """Kill this process without ceremony when the instance was made for tests and `fault` names this point.

    With `:pause` behind the point it stands still instead, until somebody sends SIGCONT: for what else may die there.
    """
    if not settings.for_tests or settings.fault is None:
        return
    if settings.fault.removesuffix(PAUSE) == f"{step}:{moment}":
        os.kill(os.getpid(), signal.SIGSTOP if settings.fault.endswith(PAUSE) else signal.SIGKILL)
