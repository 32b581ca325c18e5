"""Deploio's words for what one container may use. Its cores are guaranteed, not a ceiling."""

from __future__ import annotations

from typing import Final, Literal

from runtime.model import MIB, Limits

Size = Literal["micro", "mini", "standard-1", "standard-2", "standard-4"]
SIZES: Final[dict[Size, tuple[float, int]]] = {  # cores that are guaranteed, MiB
    "micro": (0.125, 256),
    "mini": (0.25, 512),
    "standard-1": (0.5, 1024),
    "standard-2": (0.75, 2048),
    "standard-4": (1.5, 4096),
}


def limits_of(size: Size) -> Limits:
    cores, mebibytes = SIZES[size]
    return Limits(cpu=cores, memory=mebibytes * MIB, soft=True, size=size)
