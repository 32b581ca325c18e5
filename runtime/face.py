"""How an app shows itself to visitors: what belongs to the app and not to one of its releases."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Face:
    """Host names beside those of manifest and instance, and what stands between visitors and web."""

    domains: tuple[str, ...] = ()  # in ASCII, sorted
    https_only: bool = False  # plain http is sent to https
    maintenance: str | None = None  # what visitors read in the place of the app; None: the app answers
