"""Who may do what: the only place that decides it."""

from __future__ import annotations

from runtime.errors import NoSuchApp, Refused
from runtime.model import Key, Role

ORDER = (Role.VIEWER, Role.DEVELOPER, Role.ADMIN)


def require(operator: Key, role: Role, app: str | None = None) -> None:
    """Raises Refused when the key's role is too low, NoSuchApp when it may not know of the app."""
    if app is not None and operator.apps and app not in operator.apps:
        raise NoSuchApp(f"there is no app '{app[:60]}': 'apps' lists those there are")
    if app is None and role is Role.ADMIN and operator.role is Role.ADMIN and operator.apps:
        raise Refused(f"the key '{operator.name}' is for {', '.join(operator.apps)} alone and this is for all apps")
    if ORDER.index(operator.role) < ORDER.index(role):
        raise Refused(f"the key '{operator.name}' has the role {operator.role.value}: this takes a {role.value}")


def sees(operator: Key, app: str) -> bool:
    """Whether the app is shown to this key at all."""
    return not operator.apps or app in operator.apps
