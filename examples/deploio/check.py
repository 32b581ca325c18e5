"""The deploy job: runs once in the new image while the old release still serves. If it fails, nothing changes."""

from __future__ import annotations

import os
import sys

release = os.environ.get("LOCKSTEP_RELEASE", "local")
if not os.environ.get("GREETING"):
    sys.exit(f"deploy job {release}: GREETING is empty, this release must not go live")
print(f"deploy job {release}: GREETING is there, go ahead")
