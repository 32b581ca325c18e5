"""Names and labels of engine objects: the only place that makes them.

An object is found by its labels; its name only has to be unique and legal (a DNS label of at most 63
characters, because the router finds services by name). Both say which app it is of by the app's handle, which stays
when the app is renamed.
"""

from __future__ import annotations

import hashlib
from typing import NewType

Handle = NewType("Handle", str)  # of an app: see runtime.model.App.handle

LONGEST = 63  # characters of a DNS label

INSTANCE = "lockstep.instance"
APP = "lockstep.app"
RELEASE = "lockstep.release"
PROCESS = "lockstep.process"
KIND = "lockstep.kind"
DEPLOY = "lockstep.deploy"
RUN = "lockstep.run"
CONTENT = "lockstep.content"  # hash of the spec that an object was made from

WEB, WORKER, CRON, ONE_OFF, HOOK, SERVICE, PLATFORM = "web", "worker", "cron", "run", "hook", "service", "platform"


def labels(
    instance: str, kind: str, *, app: Handle | None = None, release: int | None = None, process: str | None = None
) -> dict[str, str]:
    """The labels that every object of ours carries, as far as they apply to it."""
    found = {INSTANCE: instance, KIND: kind, APP: app, RELEASE: release, PROCESS: process}
    return {key: str(value) for key, value in found.items() if value is not None}


def service(instance: str, handle: Handle, process: str, release: int) -> str:
    return _fit(instance, handle, process, f"v{release}")


def one_off(instance: str, app: str, what: str, ticket: str) -> str:
    """By the app's name: no app is renamed while something of it runs once."""
    return _fit(instance, app, what, ticket)


def network(instance: str, handle: Handle) -> str:
    return _fit(instance, handle)


def volume(instance: str, handle: Handle, folder: str) -> str:
    return _fit(instance, handle, folder.strip("/"))


def platform(instance: str, part: str) -> str:
    return f"{instance}-{part}"


def image(instance: str, handle: Handle, release: int) -> str:
    """The tag that keeps a release's image from being pruned; nothing ever resolves through it."""
    return f"{instance}/{handle}:v{release}"


def _fit(*parts: str) -> str:
    """The parts joined by hyphens as one DNS label; a short hash keeps apart what the label can not.

    A part that has a hyphen of its own counts among those: `shop` + `api-web` and `shop-api` + `web` are two names.
    """
    slug = "-".join("".join(char if _is_plain(char) else "-" for char in part.lower()).strip("-") for part in parts)
    if len(slug) <= LONGEST and all(part and all(map(_is_plain, part)) for part in parts):
        return slug
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
    return f"{slug[: LONGEST - 9].rstrip('-')}-{digest}"


def _is_plain(char: str) -> bool:
    return char.isascii() and (char.islower() or char.isdigit())
