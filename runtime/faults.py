"""Named points at which a test instance dies, to prove that it comes back whole."""

from __future__ import annotations

import os
import signal

from runtime.settings import Settings


def fault_point(settings: Settings, step: str, moment: str) -> None:
    """Kill this process without ceremony when the instance was made for tests and `fault` names this point."""
    if settings.for_tests and settings.fault == f"{step}:{moment}":
        os.kill(os.getpid(), signal.SIGKILL)
