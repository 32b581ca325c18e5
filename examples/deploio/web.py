"""The web part: answers with what its environment says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any, Final

SHOWN: Final = ("GREETING", "PORT", "LOCKSTEP_APP", "LOCKSTEP_RELEASE", "LOCKSTEP_PROCESS", "LOCKSTEP_COMMIT")


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    match environ["PATH_INFO"]:
        case "/":
            status, answer = "200 OK", {name: os.environ.get(name) for name in SHOWN}
        case "/healthz":
            status, answer = "200 OK", {"healthy": True}
        case _:
            status, answer = "404 Not Found", {"error": "no such page"}
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps(answer, indent=2).encode() + b"\n"]
