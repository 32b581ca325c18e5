"""What somebody meant who named a command that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Final

TYPO: Final = 0.75  # how alike two names have to be for one to be taken for the other
ENDS: Final = ("destroy", "remove", "unset", "stop", "cancel", "suspend")  # verbs that nobody is led to

MEANT: Final = {  # names that hands know from Heroku, Dokku and shells; a noun stands for all of its verbs
    "access": "keys",
    "apps:exists": "apps:info",
    "apps:report": "apps:info",
    "bash": "enter",
    "builds": "deploys",
    "builds:output": "deploys:log",
    "certs": "domains:https",
    "checks": "ps",
    "console": "enter",
    "create": "apps:create",
    "env": "config",
    "exec": "enter",
    "git": "git push",
    "git:set": "apps:update --branch",
    "info": "apps:info",
    "letsencrypt": "domains:https",
    "list": "apps",
    "ls": "apps",
    "maintenance": "apps:info",
    "maintenance:disable": "maintenance:off",
    "maintenance:enable": "maintenance:on",
    "pg": "config",
    "ps:inspect": "apps:info",
    "ps:rebuild": "rebuild",
    "releases:rollback": "rollback",
    "rename": "apps:rename",
    "restart": "ps:restart",
    "scale": "ps:scale",
    "secrets": "config",
    "shell": "enter",
    "sh": "enter",
    "ssh-keys": "keys",
    "ssh-keys:add": "keys:add",
    "start": "ps:start",
    "status": "ps",
    "stop": "ps:stop",
    "tail": "logs",
    "update": "apps:update",
    "users": "keys",
}


def meant(name: str, known: Collection[str]) -> str | None:
    """What to say in place of `name`: a typo's command, its noun, or what it is called here."""
    offered = [one for one in known if one.rpartition(":")[2] not in ENDS]
    noun, colon, verb = name.partition(":")
    verbs = {one.partition(":")[2]: one for one in offered if one.startswith(f"{noun}:")}
    typo = difflib.get_close_matches(verb, verbs, n=1, cutoff=TYPO) if colon else []
    found = (
        MEANT.get(name),
        *(verbs[one] for one in typo),
        noun if colon and noun in offered else None,
        MEANT.get(noun),
        *difflib.get_close_matches(name, offered, n=1, cutoff=TYPO),
        *(verbs.values() if len(verbs) == 1 else ()),
    )
    return next((one for one in found if one is not None), None)


def hint(name: str, known: Collection[str], otherwise: str) -> str:
    """The end of the sentence that refuses `name`."""
    found = meant(name, known)
    return otherwise if found is None else f"did you mean '{found}'?"
