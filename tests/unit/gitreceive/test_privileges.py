"""Every command for every kind of key on every kind of app: who is let through, who is refused, who learns nothing.

The commands come from the registry, so that none is forgotten: one without a line in `EXPECTED` fails.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import click
import pytest

from gitreceive.access import FETCH, ORDER, PUSH
from gitreceive.commands.base import registry
from runtime.errors import LockstepError, NoSuchApp, Refused
from runtime.model import Key, Role
from tests.unit.gitreceive.desk import Office, Streams
from tests.unit.runtime.samples import ADMIN, DEVELOPER, VIEWER, key


class On(Enum):
    """What a command is about."""

    APP = "an app that is there"
    NEW = "an app that need not be there"
    SOME = "an app, or all that the key may see"
    ALL = "the whole instance"


V, D, A = ORDER
EXPECTED: Final = {
    "apps": (V, On.SOME),
    "apps:create": (D, On.NEW),
    "apps:update": (D, On.APP),
    "apps:rename": (D, On.APP),
    "apps:clone": (D, On.APP),
    "apps:info": (V, On.APP),
    "apps:destroy": (A, On.APP),
    "ps": (V, On.APP),
    "ps:scale": (D, On.APP),
    "ps:restart": (D, On.APP),
    "ps:stop": (D, On.APP),
    "ps:start": (D, On.APP),
    "domains": (V, On.APP),
    "domains:add": (D, On.APP),
    "domains:remove": (D, On.APP),
    "domains:https": (D, On.APP),
    "domains:ca": (V, On.APP),
    "maintenance:on": (D, On.APP),
    "maintenance:off": (D, On.APP),
    "run": (D, On.APP),
    "run:detached": (D, On.APP),
    "run:list": (D, On.APP),
    "run:logs": (D, On.APP),
    "run:stop": (D, On.APP),
    "enter": (D, On.APP),
    "logs": (V, On.APP),
    "config": (V, On.APP),
    "config --show": (D, On.APP),
    "config:get": (D, On.APP),
    "config:set": (D, On.APP),
    "config:unset": (D, On.APP),
    "config:import": (D, On.APP),
    "config:export": (D, On.APP),
    "config:history": (V, On.APP),
    "releases": (V, On.APP),
    "releases:info": (V, On.APP),
    "rollback": (D, On.APP),
    "rebuild": (D, On.APP),
    "deploys": (V, On.APP),
    "deploys:info": (V, On.APP),
    "deploys:log": (V, On.APP),
    "deploys:cancel": (D, On.APP),
    "cron": (V, On.APP),
    "cron:run": (D, On.APP),
    "cron:history": (V, On.APP),
    "cron:logs": (V, On.APP),
    "cron:cancel": (D, On.APP),
    "cron:suspend": (D, On.APP),
    "cron:resume": (D, On.APP),
    "redis:info": (V, On.APP),
    "alerts": (V, On.SOME),
    "events": (V, On.SOME),
    "keys": (A, On.ALL),
    "keys:add": (A, On.ALL),
    "keys:remove": (A, On.ALL),
    "help": (V, On.SOME),
    "version": (V, On.SOME),
    PUSH: (D, On.NEW),
    FETCH: (V, On.APP),
}
COMMANDS: Final = (*registry.tree().commands, "config --show", PUSH, FETCH)
OPERATORS: Final = {
    "admin": ADMIN,
    "developer": DEVELOPER,
    "viewer": VIEWER,
    "admin of shop": key("lara", role=Role.ADMIN, apps=("shop",)),
    "developer of shop": key("lena", role=Role.DEVELOPER, apps=("shop",)),
    "viewer of shop": key("lou", role=Role.VIEWER, apps=("shop",)),
    "ci": key("ci", role=Role.DEVELOPER, commands=(PUSH, "logs", "keys")),
    "ci of shop": key("cia", role=Role.DEVELOPER, apps=("shop",), commands=(PUSH, "logs")),
}
APPS: Final = {"shop": True, "blog": True, "nope": False}  # whether it is there
WORDS: Final = {
    "amounts": "web=1",
    "name": "nobody",
    "names": "A",
    "number": "1",
    "release": "v1",
    "values": "A=1",
    "wanted": "on",
}


def expected(operator: Key, command: str, app: str) -> type[LockstepError] | None:
    """What the gate answers; None: it lets through, and the rest is the command's own affair."""
    role, on = EXPECTED[command]
    word = command.partition(" ")[0]
    if on in (On.APP, On.NEW) and operator.apps and app not in operator.apps:
        return NoSuchApp if on is On.APP else Refused
    if operator.commands and word not in operator.commands:
        return Refused
    if ORDER.index(operator.role) < ORDER.index(role) or (on is On.ALL and operator.apps):
        # `config` itself is a viewer's: that its values take more is found out when the app is found.
        return NoSuchApp if command == "config --show" and not APPS[app] else Refused
    return NoSuchApp if on is On.APP and not APPS[app] else None


async def answer(office: Office, operator: Key, command: str, app: str) -> LockstepError | None:
    """The refusal, if there is one; any other end means that the command was let through."""
    try:
        if command in (PUSH, FETCH):
            await office.pushes.admit(operator, app, write=command == PUSH)
        else:
            await office.commands.run(operator, words_for(command, app), Streams(b"A=1"))
    except (NoSuchApp, Refused) as refusal:
        return refusal
    except (LockstepError, AssertionError):  # the latter: an engine was asked, and there is none
        return None
    return None


def words_for(command: str, app: str) -> tuple[str, ...]:
    name, *options = command.split()
    wanted = [one for one in registry.tree().commands[name].params if isinstance(one, click.Argument) and one.required]
    given = WORDS | {"app": app, "new": app} | ({"name": app} if EXPECTED[command][1] is On.NEW else {})
    return (name, *(given.get(str(one.name), "x") for one in wanted), *options)


def people(office: Office) -> None:
    """The state before each try; what the last one changed is made good."""
    with office.store.write() as tx:
        for app, there in APPS.items():
            known = tx.apps.find(app) is not None
            if there and not known:
                tx.apps.create(app, office.parts.clock())
            if known and not there:
                tx.apps.remove(app)


def test_every_command_has_an_expectation_and_no_other() -> None:
    assert set(EXPECTED) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
async def test_matrix(office: Office, command: str) -> None:
    found, wanted = {}, {}
    for who, operator in OPERATORS.items():
        for app in APPS:
            people(office)
            refusal = await answer(office, operator, command, app)
            found[who, app] = None if refusal is None else type(refusal)
            wanted[who, app] = expected(operator, command, app)
    assert found == wanted


@pytest.mark.parametrize("command", [command for command in COMMANDS if EXPECTED[command][1] in (On.APP, On.NEW)])
@pytest.mark.parametrize("who", [who for who, operator in OPERATORS.items() if operator.apps])
async def test_key_of_one_app_can_not_tell_another_from_none(office: Office, who: str, command: str) -> None:
    """The same sentence and the same code, letter by letter."""
    people(office)
    there = await answer(office, OPERATORS[who], command, "blog")
    absent = await answer(office, OPERATORS[who], command, "nope")
    assert str(there).replace("blog", "nope") == str(absent)
    assert there is not None
    if EXPECTED[command][1] is On.NEW:
        assert str(absent) == f"the key '{OPERATORS[who].name}' is for shop alone: it can not make nope"
    else:
        assert there.exit_code == 20
        assert "shop" not in str(there)


@pytest.mark.parametrize("command", ["apps:rename", "apps:clone"])
async def test_key_of_one_app_gives_no_other_name(office: Office, command: str) -> None:
    """Neither one that is taken, nor one that is free."""
    people(office)
    for new in ("blog", "nope"):
        done = await office.run(command, "shop", new, who=OPERATORS["developer of shop"])
        assert (done.code, done.err) == (1, f"the key 'lena' is for shop alone: it can not make {new}")


async def test_what_is_listed_without_an_app_shows_only_ones_own(office: Office) -> None:
    people(office)
    with office.store.write() as tx:
        tx.events.add(who="anna", app="blog", action="git-push", result="ok", now=office.parts.clock())
    for command in (command for command in COMMANDS if EXPECTED[command][1] is On.SOME):
        done = await office.run(command, who=OPERATORS["viewer of shop"])
        assert done.code == 0
        assert "blog" not in done.out + done.err
