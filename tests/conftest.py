"""What holds for every test: examples are drawn the same way each time, and no example is timed."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("house", derandomize=True, deadline=None, database=None)
settings.load_profile("house")
