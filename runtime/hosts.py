"""Host names that an operator gives to an app: what is one, and whose it is."""

from __future__ import annotations

import re
from typing import Final

import idna

from runtime.errors import LockstepError, UsageError
from runtime.model import APP_NAME
from runtime.settings import Settings
from runtime.store import Transaction

LONGEST: Final = 253  # characters, RFC 1035
LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class HostTaken(LockstepError):
    """A host name is another app's; `app` is for those who may know of that one."""

    def __init__(self, host: str, app: str) -> None:
        super().__init__(f"{host} is in use by another app: remove it there first, or choose another name")
        self.host = host
        self.app = app


def host_name(text: str) -> str:
    """The name in ASCII and lower case (IDNA 2008). Raises UsageError for what is no full host name."""
    name = text.strip().removesuffix(".")
    if "*" in name:
        raise UsageError(f"'{name[:60]}' is a pattern: give each host name in full")
    try:
        name = idna.encode(name, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise UsageError(_not_a_name(text)) from None
    labels = name.split(".")
    numeric = labels[-1].isdigit()  # an address, or nothing
    if len(name) > LONGEST or len(labels) < 2 or numeric or not all(map(LABEL.fullmatch, labels)):
        raise UsageError(_not_a_name(text))
    return name


def owner_of(tx: Transaction, settings: Settings, host: str, app: str) -> str | None:
    """The other app that answers there; None when none does."""
    first, _, rest = host.partition(".")
    if rest == settings.domain and first != app and tx.apps.find(first) is not None:
        return first
    owner = tx.faces.owner(host)
    if owner is not None:
        return None if owner == app else owner
    others = (tx.releases.current(other.name) for other in tx.apps.all() if other.name != app)
    return next((live.app for live in others if live is not None and live.spec.host == host), None)


def check_free(tx: Transaction, settings: Settings, host: str, app: str) -> None:
    """Raises HostTaken when another app answers there, UsageError when the name is kept for an app of that name."""
    owner = owner_of(tx, settings, host, app)
    if owner is not None:
        raise HostTaken(host, owner)
    first, _, rest = host.partition(".")
    if rest == settings.domain and first != app and APP_NAME.fullmatch(first):
        raise UsageError(f"{host} is kept for an app of the name {first}: choose another name")


def _not_a_name(text: str) -> str:
    return f"'{text[:60]}' is not a full host name: give one such as shop.example.com"
