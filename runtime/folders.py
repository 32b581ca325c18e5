"""Folders that are named after an app follow it to another name."""

from __future__ import annotations

import shutil
from pathlib import Path


def move_folder(old: Path, new: Path) -> None:
    """Have the folder stand at `new`, in the place of what an app that is gone left there. Done again, it does no more.

    Raises OSError.
    """
    if old.exists():
        shutil.rmtree(new, ignore_errors=True)
        old.rename(new)
