"""Who may do what: the only place that decides it."""

from __future__ import annotations

from typing import Final

from runtime.errors import NoSuchApp, Refused
from runtime.model import Key, Role

ORDER = (Role.VIEWER, Role.DEVELOPER, Role.ADMIN)
PUSH: Final = "git-push"  # what a key limited to commands calls `git push`
FETCH: Final = "git-fetch"  # and `git fetch`, `git clone`, `git ls-remote`


def require(operator: Key, role: Role, app: str | None = None, *, command: str, new: bool = False) -> None:
    """Raises Refused when the key's role is too low or the command is not among its own,
    NoSuchApp when it may not know of the app.

    A `new` app is one that need not be there yet, as with a push: a key for other apps is told so, in the same
    words whether there is one of that name or not.
    """
    if app is not None and operator.apps and app not in operator.apps:
        if new or command == PUSH:
            alone = ", ".join(operator.apps)
            raise Refused(f"the key '{operator.name}' is for {alone} alone: it can not make {app[:60]}")
        raise NoSuchApp(f"there is no app '{app[:60]}': 'apps' lists those there are")
    if operator.commands and command not in operator.commands:
        raise Refused(f"the key '{operator.name}' is for {', '.join(operator.commands)} alone and not for {command}")
    if app is None and role is Role.ADMIN and operator.role is Role.ADMIN and operator.apps:
        raise Refused(f"the key '{operator.name}' is for {', '.join(operator.apps)} alone and this is for all apps")
    if ORDER.index(operator.role) < ORDER.index(role):
        least = f"{'an' if role is Role.ADMIN else 'a'} {role.value}"
        raise Refused(f"the key '{operator.name}' has the role {operator.role.value}: this takes {least}")


def sees(operator: Key, app: str) -> bool:
    """Whether the app is shown to this key at all."""
    return not operator.apps or app in operator.apps


def sees_instance(operator: Key) -> bool:
    """Whether the key is shown what is about no app: keys, and what the server does by itself."""
    return operator.role is Role.ADMIN and not operator.apps
