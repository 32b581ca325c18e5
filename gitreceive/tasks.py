"""Cancelling work that needs its own time to undo what it did."""

from __future__ import annotations

import asyncio
from typing import Any


def cancel_once(task: asyncio.Task[Any]) -> None:
    """Cancel `task` unless it was before: a second time would break into its tidying up."""
    if not task.cancelling():
        task.cancel()
