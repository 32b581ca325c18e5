"""The operator's commands as a session runs them, on a real store and without an engine."""

from __future__ import annotations

import json
import re
import shlex
from datetime import timedelta
from typing import Any

import asyncssh
import click
import pytest

from gitreceive.access import ORDER
from gitreceive.commands.base import GatedCommand, Registry, Tree, registry
from gitreceive.commands.desk import Desk, ago
from gitreceive.commands.hints import ENDS, MEANT, meant
from gitreceive.model import Terminal
from runtime.alerts.model import AlertKind, AlertState, Cause
from runtime.alerts.raising import raise_alert, silent
from runtime.model import DeployState, Key, Role
from tests.unit.gitreceive.desk import Office, Streams
from tests.unit.runtime.samples import ADMIN, DEVELOPER, NOW, VIEWER, key, release, spec, web

LIMITED = key("lena", role=Role.DEVELOPER, apps=("shop",))
TERMINAL = Terminal("xterm", 80, 24)
NAMES = sorted(registry.tree().commands)


def command(name: str) -> GatedCommand:
    found = registry.tree().commands[name]
    assert isinstance(found, GatedCommand)
    return found


# ---- the tree ---------------------------------------------------------------------------------------------------


def test_each_session_has_a_tree_of_its_own() -> None:
    one, other = registry.tree(), registry.tree()
    assert one is not other
    assert sorted(one.commands) == sorted(other.commands) == NAMES
    assert all(one.commands[name] is not other.commands[name] for name in NAMES)


def test_no_command_is_declared_twice() -> None:
    assert isinstance(registry, Registry)
    declared = [name for name, *_ in registry._declared]
    assert sorted(declared) == sorted(set(declared))


@pytest.mark.parametrize("name", NAMES)
def test_every_command_says_what_it_does_and_who_may(name: str) -> None:
    found = command(name)
    first = found.get_short_help_str(120)
    assert re.fullmatch(r"[A-Z][^\n]{8,94}[.…]?", first), first
    assert isinstance(found.role, Role)
    assert name.partition(":")[0].isalpha()
    assert found.noun


@pytest.mark.parametrize("name", NAMES)
async def test_help_of_every_command_reaches_the_client(
    office: Office, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    done = await office.run(name, "--help")
    assert done.code == 0
    assert done.out.startswith("Usage:")
    assert done.err == ""
    assert (await office.run("help", name)).out.splitlines()[2:] == done.out.splitlines()[2:]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_an_example_that_fits_it(office: Office, name: str) -> None:
    found = command(name)
    examples = re.findall(r"(?m)^ssh (?:-t )?paas@HOST -- (.+)$", str(found.help))
    assert examples, f"{name} has no line 'ssh paas@HOST -- {name} …' in its help"
    for example in examples:
        first, *words = _typed(example)
        assert first == name
        found.make_context(first, words, obj=Desk(ADMIN, office.commands.operations, Streams()))


def _typed(example: str) -> list[str]:
    """The words that reach the server: the shell's quotes are gone, then those inside; what is piped is not sent."""
    words = shlex.split(example)
    sent = [word for word in words if word not in ("<", ">")]
    piped = {words[index + 1] for index, word in enumerate(words[:-1]) if word in ("<", ">")}
    return shlex.split(" ".join(word for word in sent if word not in piped))


@pytest.mark.parametrize("words", [(), ("help",)])
async def test_no_words_mean_help(office: Office, words: tuple[str, ...]) -> None:
    done = await office.run(*words)
    assert done.code == 0
    assert all(re.search(rf"^  {re.escape(name)}  ", done.out, re.MULTILINE) for name in NAMES)
    assert max(map(len, done.out.splitlines())) <= 120
    nouns = re.findall(r"(?m)^([a-z]+):$", done.out)
    assert nouns == list(dict.fromkeys(command(name).noun.rstrip("_") for name in registry.tree().commands))


@pytest.mark.parametrize("name", NAMES)
def test_commands_on_one_app_name_it_first(name: str) -> None:
    """`app` is what the gate looks at: an argument of another name would pass it unseen."""
    arguments = [one.name for one in command(name).params if isinstance(one, click.Argument)]
    assert "app" not in arguments[1:]
    if name.partition(":")[0] not in ("apps", "keys", "help", "version", "events"):
        assert arguments[0] == "app"


# ---- words that hands bring along -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("apps:exists", "apps:info"), ("apps:list", "apps"), ("apps:report", "apps:info"),
        ("apps:craete", "apps:create"), ("app:create", "apps:create"),
        ("builds", "deploys"), ("builds:info", "deploys"), ("certs", "domains:https"), ("certs:add", "domains:https"),
        ("config:show", "config"), ("config:keys", "config"), ("config:sett", "config:set"), ("cron:list", "cron"),
        ("deploys:logs", "deploys:log"), ("domains:report", "domains"), ("git:sync", "git push"),
        ("logs:tail", "logs"), ("maintenance:enable", "maintenance:on"), ("ps:rebuild", "rebuild"),
        ("ps:report", "ps"), ("redis", "redis:info"), ("redis:promote", "redis:info"),
        ("releases:rollback", "rollback"), ("ssh-keys:add", "keys:add"), ("ssh-keys:list", "keys"),
    ],
)  # fmt: skip
def test_names_from_elsewhere_lead_to_ours(words: str, near: str) -> None:
    assert meant(words, NAMES) == near


def test_what_stands_in_the_table_of_foreign_names_is_foreign_and_leads_somewhere() -> None:
    assert not set(MEANT) & set(NAMES)
    assert {near.split()[0] for near in MEANT.values()} - {"git"} <= set(NAMES)


@pytest.mark.parametrize("noun", ["apps", "config", "cron", "domains", "keys", "ps", "run", "deploys", "xyz"])
@pytest.mark.parametrize("verb", ["destory", "exists", "removes", "rm", "unsett", "stopp", "cancl", "delete"])
def test_nobody_is_led_to_what_destroys(noun: str, verb: str) -> None:
    for name in (f"{noun}:{verb}", verb):
        assert str(meant(name, NAMES)).rpartition(":")[2] not in ENDS


@pytest.mark.parametrize(
    ("name", "given", "parsed"),
    [
        ("config:set", "--app shop A=1 B=2", {"app": "shop", "values": ("A=1", "B=2")}),
        ("config:set", "A=1 -a shop -- B=2", {"app": "shop", "values": ("A=1", "B=2")}),
        ("config:set", "--stdin -a A=1 -ashop", {"app": "shop", "piped": "-a", "values": ("A=1",)}),
        ("logs", "-n 5 --app=shop -f", {"app": "shop", "lines": 5, "follow": True}),
        ("logs", "-fn5 shop --tail", {"app": "shop", "lines": 5, "follow": True}),
        ("apps:rename", "--app shop store", {"app": "shop", "new": "store"}),
        ("alerts", "-a shop", {"app": "shop"}),
        ("run", "--app shop ls -a x", {"app": "shop", "words": ("ls", "-a", "x")}),
        ("run", "-e A=1 -a shop -p web -- ls", {"app": "shop", "process": "web", "words": ("--", "ls")}),
        ("run", "shop ls --app x", {"app": "shop", "words": ("ls", "--app", "x")}),
        ("keys:add", "ci --app shop", {"name": "ci", "apps": ("shop",)}),
        ("ps:stop", "-a shop web mailer", {"app": "shop", "names": ("web", "mailer")}),
    ],
)
def test_app_may_be_given_as_an_option(office: Office, name: str, given: str, parsed: dict[str, Any]) -> None:
    found = command(name).make_context(name, given.split(), obj=Desk(ADMIN, office.operations, Streams()))
    assert {key: found.params[key] for key in parsed} == parsed


async def test_gate_looks_at_the_app_however_it_is_given(office: Office) -> None:
    office.add_app("blog")
    done = await office.run("config", "--app", "blog", who=LIMITED)
    assert (done.code, done.err) == (20, "there is no app 'blog': 'apps' lists those there are")


async def test_help_and_version_by_their_flags(office: Office) -> None:
    shown = [(await office.run(*words)).out for words in (("-h",), ("ps", "-h"), ("--version",))]
    assert shown[0].startswith("Usage:")
    assert shown[1] == (await office.run("ps", "--help")).out
    assert shown[2] == (await office.run("version")).out
    number = json.loads((await office.run("version", "-o", "json")).out)["version"]
    assert shown[2] == f"lockstep {number}\n"


async def test_lists_have_a_length(office: Office) -> None:
    office.add_app("shop", 1, 2, 3)
    listed = json.loads((await office.run("releases", "shop", "-n", "2", "-o", "json")).out)
    assert [row["release"] for row in listed] == ["v3", "v2"]


# ---- words that do not fit --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("app",), "there is no command 'app': did you mean 'apps'?"),
        (("confg:set", "shop"), "there is no command 'confg:set': did you mean 'config:set'?"),
        (("frobnicate",), "there is no command 'frobnicate': 'help' lists those there are"),
        (("x" * 100,), f"there is no command '{'x' * 60}': 'help' lists those there are"),
        (("help", "frobnicate"), "there is no command 'frobnicate': 'help' lists those there are"),
        (("help", "cofnig"), "there is no command 'cofnig': did you mean 'config'?"),
        (("apps", "extra"), "got unexpected extra argument (extra); usage: apps [OPTIONS]"),
        (("apps:info",), "missing argument 'APP'; usage: apps:info [OPTIONS] APP"),
        (("apps", "--frob"), "no such option"),
        (("config:set", "shop", "--stdin"), "option '--stdin' requires an argument; usage: config:set [OPTIONS] APP"),
        (("apps:update", "--branch"), "option '--branch' requires an argument; usage: apps:update [OPTIONS] APP"),
        (("domains:https", "shop"), "missing argument 'on|off'. Choose from: on, off; usage: domains:https"),
        (("ps", "--app"), "option '--app' requires an argument; usage: ps [OPTIONS] APP"),
        (("ps", "shop", "--app", "shop"), "got unexpected extra argument (shop)"),
        (("apps", "-o", "yaml"), "invalid value for '-o' / '--output': 'yaml' is not one of 'text', 'json'"),
        (("config:set", "shop"), "no value came: give KEY=VALUE, or --stdin KEY"),
        (("config:import", "shop"), "no values came: send a file on standard input"),
        (("keys:add", "ci", "x", "--command", "git-psh"), "there is no command 'git-psh': did you mean 'git-push'?"),
        (("keys:add", "ci", "x", "--command", "fly"), "there is no command 'fly': it is git-push, git-fetch or one"),
        (("config:set", "shop", "two words"), "'two words' is not KEY=VALUE: quote values with spaces twice"),
        (("config:set", "shop", "1A=x"), "'1A' is not a variable name"),
        (("config:set", "shop", "LOCKSTEP_APP=x"), "names that begin with LOCKSTEP_ are set by the platform"),
        (("apps:create", "Shop"), "'Shop' is not an app name"),
        (("apps:destroy", "shop"), "this removes shop for good: add --force, or run it on a terminal (ssh -t)"),
        (("keys:add", "anna"), "no key came: give it as an argument"),
        (("keys:add", "anna", "x", "--role", "god"), "invalid value for '--role'"),
        (("logs", "shop", "-n", "-1"), "invalid value for '-n' / '--lines' / '--num'"),
        (
            ("logs", "shop", "-t", "web"),
            "there is no kind of line 'web': use app, cron, predeploy, build, deploy,",
        ),
        (("logs", "shop", "--since", "soon"), "'soon' is no moment: use 10m, 1h30m, 3d or one like"),
        (("logs", "shop", "--release", "last"), "'last' is no release: use v3 or 3"),
        (("deploys:log", "shop", "last"), "invalid value for '[NUMBER]'"),
        (("releases:info", "shop", "last"), "'last' is not a release: give it as v3 or 3"),
        (("ps:scale", "shop", "web"), "'web' is not PROCESS=N"),
        (("ps:scale", "shop", "web=101"), "'web=101' is not PROCESS=N with N from 0 to 100"),
    ],
)
async def test_usage_errors_are_sentences(office: Office, words: tuple[str, ...], sentence: str) -> None:
    office.add_app("shop")
    done = await office.run(*words)
    assert done.code == 2
    assert sentence in done.err
    assert "\n" not in done.err
    assert done.out == ""


async def test_unknown_app_is_named_with_the_nearest(office: Office) -> None:
    office.add_app("shop")
    done = await office.run("apps:info", "shp")
    assert (done.code, done.err) == (20, "there is no app 'shp': did you mean 'shop'?")
    done = await office.run("apps:info", "zebra")
    assert (done.code, done.err) == (20, "there is no app 'zebra': 'apps' lists those there are")


# ---- gates ------------------------------------------------------------------------------------------------------


def rank(name: str) -> int:
    return ORDER.index(command(name).role)


def words_for(name: str) -> tuple[str, ...]:
    """A command line of `name` that is right in its form."""
    given = {
        "app": "shop",
        "name": "anna",
        "values": "A=1",
        "names": "A",
        "number": "1",
        "release": "v1",
        "amounts": "web=1",
        "wanted": "on",
    }
    arguments = [one for one in command(name).params if isinstance(one, click.Argument) and one.required]
    return (name, *(given.get(str(one.name), "x") for one in arguments))


FORBIDDEN = [(name, one) for name in NAMES for one in (VIEWER, DEVELOPER) if ORDER.index(one.role) < rank(name)]


@pytest.mark.parametrize(("name", "operator"), FORBIDDEN)
async def test_lower_roles_are_refused(office: Office, name: str, operator: Key) -> None:
    office.add_app("shop")
    done = await office.run(*words_for(name), who=operator)
    assert done.code == 1
    assert done.err.startswith(f"the key '{operator.name}' has the role {operator.role.value}: this takes a")


@pytest.mark.parametrize("name", [name for name in NAMES if words_for(name)[1:2] == ("shop",)])
async def test_limited_key_does_not_reach_other_apps(office: Office, name: str) -> None:
    office.add_app("blog")
    words = tuple("blog" if word == "shop" else word for word in words_for(name))
    done = await office.run(*words, who=LIMITED)
    assert done.code in (1, 20)
    assert "there is no app 'blog'" in done.err


async def test_limited_key_sees_and_makes_only_its_apps(office: Office) -> None:
    office.add_app("shop")
    office.add_app("blog")
    done = await office.run("apps", "-o", "json", who=LIMITED)
    assert [row["app"] for row in json.loads(done.out)] == ["shop"]
    assert (await office.run("apps:info", "blgo", who=LIMITED)).err == (
        "there is no app 'blgo': 'apps' lists those there are"
    )
    made = await office.run("apps:create", "mail", who=LIMITED)
    assert (made.code, made.err) == (1, "the key 'lena' is for shop alone: it can not make mail")


async def test_viewer_does_not_see_values(office: Office) -> None:
    office.add_app("shop")
    with office.store.write() as tx:
        tx.apps.replace_config("shop", {"TOKEN": "hunter2"}, "anna", NOW)
    masked = await office.run("config", "shop", who=VIEWER)
    assert "***" in masked.out
    assert "hunter2" not in masked.out
    refused = await office.run("config", "shop", "--show", who=VIEWER)
    assert (refused.code, "hunter2" in refused.out + refused.err) == (1, False)
    assert "hunter2" in (await office.run("config", "shop", "--show", who=DEVELOPER)).out


# ---- what they print --------------------------------------------------------------------------------------------


def takes_json(name: str) -> bool:
    return any("-o" in one.opts for one in command(name).params)


def filled(office: Office) -> None:
    office.add_app("shop", 1, 2, live=2, config={"TOKEN": "hunter2"})
    with office.store.write() as tx:
        tx.releases.mark_live("shop", 1, NOW)
        tx.apps.set_branch("shop", "main")
        tx.apps.replace_config("shop", {"TOKEN": "hunter2"}, "anna", NOW)
        begun = tx.deploys.begin("shop", "push", "anna", "1a2b3c4" + "0" * 33, 1, NOW)
        tx.deploys.record(begun.model_copy(update={"release": 2, "error": "no"}), NOW)
        tx.keys.add(ADMIN)


LISTINGS: dict[tuple[str, ...], list[dict[str, Any]]] = {
    ("apps",): [
        {
            "app": "shop",
            "release": "v2",
            "branch": "main",
            "url": "http://shop.localhost:8080/",
            "maintenance": "off",
            "maintenance_message": None,
            "created": "2026-01-02T03:04:05.678901Z",
        }
    ],
    ("config", "shop"): [{"name": "TOKEN", "value": "***"}],
    ("config", "shop", "--show"): [{"name": "TOKEN", "value": "hunter2"}],
    ("releases", "shop"): [
        {
            "release": "v2",
            "state": "live",
            "commit": "1a2b3c4",
            "what": "push of 1a2b3c4",
            "who": "anna",
            "when": "2026-01-02T03:04:05.678901Z",
        },
        {
            "release": "v1",
            "state": "was live",
            "commit": "1a2b3c4",
            "what": "push of 1a2b3c4",
            "who": "anna",
            "when": "2026-01-02T03:04:05.678901Z",
        },
    ],
    ("deploys", "shop"): [
        {
            "deploy": 1,
            "kind": "push",
            "state": "queued",
            "release": "v2",
            "commit": "1a2b3c4",
            "who": "anna",
            "when": "2026-01-02T03:04:05.678901Z",
            "took": None,
            "cut_over": None,
            "worker_pause": None,
            "error": "no",
        }
    ],
    ("keys",): [
        {
            "name": "anna",
            "role": "admin",
            "apps": "all",
            "commands": "all",
            "fingerprint": "SHA256:anna",
            "added": "2026-01-02T03:04:05.678901Z",
            "used": None,
        }
    ],
}


@pytest.mark.parametrize("words", LISTINGS)
async def test_listing_as_json(office: Office, words: tuple[str, ...]) -> None:
    filled(office)
    done = await office.run(*words, "-o", "json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == LISTINGS[words]


@pytest.mark.parametrize("words", LISTINGS)
async def test_listing_as_text(office: Office, words: tuple[str, ...]) -> None:
    """A heading and a line for each row; without a terminal no colour and nothing after the last column."""
    filled(office)
    done = await office.run(*words)
    lines = done.out.splitlines()
    assert len(lines) == 1 + len(LISTINGS[words])
    assert " ".join(lines[0].split()) == " ".join(key.replace("_", " ").upper() for key in LISTINGS[words][0])
    assert "\x1b" not in done.out
    assert all(line == line.rstrip() for line in lines)
    assert "\x1b[1m" in (await office.run(*words, terminal=TERMINAL)).out


@pytest.mark.parametrize("words", [("apps",), ("config", "shop"), ("releases", "shop"), ("deploys", "shop")])
async def test_empty_listing_is_said_on_the_other_stream(office: Office, words: tuple[str, ...]) -> None:
    if words != ("apps",):
        office.add_app("shop")
    plain = await office.run(*words)
    assert (plain.code, plain.out) == (0, "")
    assert plain.err.endswith("\n")
    assert (await office.run(*words, "-o", "json")).out == "[]\n"


async def test_facts_of_one_thing(office: Office) -> None:
    filled(office)
    facts = json.loads((await office.run("apps:info", "shop", "-o", "json")).out)
    assert (facts["app"], facts["release"], facts["processes"], facts["urls"]) == (
        "shop",
        "v2",
        ["web x1"],
        ["http://shop.localhost:8080/"],
    )
    text = (await office.run("apps:info", "shop")).out
    assert text.startswith("=====> shop information\n")
    assert re.search(r"^       built with: +python 3\.11$", text, re.MULTILINE)
    older = json.loads((await office.run("releases:info", "shop", "v1", "-o", "json")).out)
    assert (older["release"], older["live"], older["config"]) == ("v1", "no", ["TOKEN"])


async def test_options_of_one_command_do_not_leak_into_the_next(office: Office) -> None:
    filled(office)
    assert (await office.run("apps", "-o", "json")).out.startswith("[")
    assert (await office.run("apps")).out.startswith("APP")


async def test_markup_in_values_is_printed_as_it_is(office: Office) -> None:
    office.add_app("shop")
    with office.store.write() as tx:
        tx.apps.replace_config("shop", {"A": "[red]x[/red] :smile:"}, "anna", NOW)
    assert "[red]x[/red] :smile:" in (await office.run("config", "shop", "--show")).out


# ---- what they do -----------------------------------------------------------------------------------------------


async def test_app_is_made_once(office: Office) -> None:
    done = await office.run("apps:create", "shop", who=DEVELOPER)
    assert (done.code, done.out) == (
        0,
        "shop is made: set its config with 'config:set shop KEY=VALUE', then push to it\n",
    )
    done = await office.run("apps:create", "shop", who=DEVELOPER)
    assert (done.code, done.err) == (1, "there is an app 'shop' already: choose another name")


async def test_config_of_an_app_without_release_is_stored(office: Office) -> None:
    office.add_app("shop")
    done = await office.run("config:set", "shop", "A=1", "B=x=y z", "A=2")
    assert (done.code, done.out) == (0, "stored for the first push to shop\n")
    await office.run("config:unset", "shop", "B")
    with office.store.read() as tx:
        assert tx.apps.config("shop") == {"A": "2"}
    done = await office.run("config:unset", "shop", "B")
    assert (done.code, done.err) == (1, "B is not set on shop: 'config shop' lists what is")


async def test_same_values_again_make_no_release(office: Office) -> None:
    filled(office)
    done = await office.run("config:set", "shop", "TOKEN=hunter2")
    assert (done.code, done.out) == (0, "nothing changed: the values are what they were\n")
    with office.store.read() as tx:
        assert len(tx.deploys.of("shop")) == 1


@pytest.mark.parametrize(("value", "fits"), [("x" * 65536, True), ("x" * 65537, False), ("a\0b", False)])
async def test_size_of_a_value(office: Office, value: str, fits: bool) -> None:
    office.add_app("shop")
    done = await office.run("config:set", "shop", f"A={value}")
    assert (done.code == 0) is fits
    assert len(done.err) < 200


@pytest.mark.parametrize("typed", [b"blog\r", b"", b"sho", b"SHOP\r"])
async def test_destroying_asks_for_the_name(office: Office, typed: bytes) -> None:
    office.add_app("shop")
    done = await office.run("apps:destroy", "shop", typed=typed, terminal=TERMINAL)
    assert done.code == 2
    assert "This removes shop for good. Type its name to go on: " in done.out
    assert done.err == "the name typed is not shop: nothing was removed"
    with office.store.read() as tx:
        assert tx.apps.find("shop") is not None


async def test_key_comes_as_argument_or_on_standard_input(office: Office) -> None:
    for name, on_input in (("anna", False), ("bert", True)):
        text = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode()
        words = ("keys:add", name) if on_input else ("keys:add", name, *text.split())
        done = await office.run(*words, typed=text.encode() if on_input else b"")
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(f"{name} may come in as developer with SHA256:")


async def test_rollback_says_why_not(office: Office) -> None:
    office.add_app("shop", 1, 2, live=2)
    sentences = {
        (): "shop has no earlier release that was live: 'releases shop' lists all",
        ("v1",): "v1 of shop was never live: choose one that was, 'releases shop' lists all",
        ("v9",): "shop has no release v9: 'releases shop' lists all",
    }
    for words, sentence in sentences.items():
        done = await office.run("rollback", "shop", *words)
        assert (done.code, done.err) == (1, sentence)
    with office.store.write() as tx:
        tx.releases.mark_live("shop", 1, NOW)
        tx.releases.mark_live("shop", 2, NOW)
        tx.releases.image_is_gone("shop", 1)
    assert "the image of v1 of shop is gone" in (await office.run("rollback", "shop")).err
    assert "v2 of shop is live already" in (await office.run("rollback", "shop", "v2")).err


async def test_cancelling_needs_a_deploy_under_way(office: Office) -> None:
    office.add_app("shop")
    done = await office.run("deploys:cancel", "shop")
    assert (done.code, done.err) == (
        1,
        "no such deploy of shop is under way: 'deploys shop' shows how the last ones ended",
    )


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (DeployState.LIVE, 0),
        (DeployState.RETIRE, 0),  # live, with something of the old release still to go
        (DeployState.FAILED, 1),
        (DeployState.CANCELLED, 1),
    ],
)
async def test_who_follows_a_deploy_learns_whether_it_went_live(office: Office, state: DeployState, code: int) -> None:
    office.add_app("shop")
    assert (await office.run("deploys:log", "shop")).err == "nothing was deployed to shop yet: push to it"
    for number in (1, 2):
        with office.store.write() as tx:
            begun = tx.deploys.begin("shop", "push", "anna", None, None, NOW)
            tx.deploys.record(begun.model_copy(update={"state": state if number == 2 else DeployState.LIVE}), NOW)
        path = office.folder / f"logs/deploys/shop/{number}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n")
    found = [await office.run("deploys:log", "shop", *words) for words in (["-f"], ["2", "-f"], [], ["2"], ["1", "-f"])]
    assert [(done.out, done.code) for done in found] == [("2\n", code)] * 2 + [("2\n", 0)] * 2 + [("1\n", 0)]
    listed = json.loads((await office.run("deploys", "shop", "-n", "1", "-o", "json")).out)
    assert [row["deploy"] for row in listed] == [2]


async def test_log_of_a_deploy_is_its_apps_alone(office: Office) -> None:
    filled(office)
    office.add_app("blog")
    path = office.folder / "logs/deploys/shop/1.log"
    path.parent.mkdir(parents=True)
    path.write_text("-----> Building\n")
    assert (await office.run("deploys:log", "shop", "1")).out == "-----> Building\n"
    for other in ("deploys:log", "deploys:info"):
        assert (await office.run(other, "blog", "1")).err == "blog has no deploy 1: 'deploys blog' lists its deploys"
        assert (await office.run(other, "blog", "99")).err == "blog has no deploy 99: 'deploys blog' lists its deploys"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s ago"), (119, "119 s ago"), (120, "2 m ago"), (7200, "2 h ago"), (-7200, "in 2 h"), (200000, "2 d ago")],
)
def test_spans(seconds: float, text: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == text


def test_sample_release_is_what_the_table_says() -> None:
    assert release(web()).spec == spec(web())
    assert isinstance(registry.tree(), Tree)


# ---- alerts -----------------------------------------------------------------------------------------------------


def alerted(office: Office) -> None:
    """A failed deploy of shop that was told of at the second try, a failed run of blog that nobody is told of."""
    office.add_app("shop", 1, live=1, notify_on_failure="https://hooks.example.com/secret")
    office.add_app("blog", 1, live=1)
    causes = (
        Cause(kind=AlertKind.DEPLOY, app="shop", status="failed", error="pip exited with 1", deploy=7),
        Cause(kind=AlertKind.RUN, app="blog", status="timed out", error="did not end", job="tick", run=3, slot=NOW),
        silent(NOW, timedelta(seconds=60)),
    )
    with office.store.write() as tx:
        for cause in causes:
            raise_alert(tx, cause, NOW)
        for number, status, error in ((1, 500, "answered 500"), (2, 200, None)):
            tx.alerts.begin_try(1, number, NOW, NOW)
            tx.alerts.end_try(1, number, status, error)
        tx.alerts.settle(1, AlertState.DELIVERED, None)


async def test_alerts_of_an_app_with_every_try(office: Office) -> None:
    alerted(office)
    done = await office.run("alerts", "shop", "-o", "json", who=VIEWER)
    (row,) = json.loads(done.out)
    assert (row["kind"], row["what"], row["deploy"], row["told"]) == ("deploy", "deploy 7", 7, "delivered")
    assert [(one["number"], one["status"], one["error"]) for one in row["tries"]] == [
        (1, 500, "answered 500"),
        (2, 200, None),
    ]
    assert "secret" not in done.out
    text = (await office.run("alerts", "shop")).out
    assert re.search(r"deploy 7 +failed +pip exited with 1 +delivered +- +2 +200$", text, re.MULTILINE)


async def test_alerts_of_all_apps_are_those_of_the_keys_apps(office: Office) -> None:
    alerted(office)
    whole = json.loads((await office.run("alerts", "-o", "json", who=VIEWER)).out)
    assert [(row["kind"], row["app"], row["told"]) for row in whole] == [
        ("scheduler", None, "not sent"),
        ("run", "blog", "not sent"),
        ("deploy", "shop", "delivered"),
    ]
    limited = json.loads((await office.run("alerts", "-o", "json", who=LIMITED)).out)
    assert [row["app"] for row in limited] == ["shop"]
    assert (await office.run("alerts", "blog", who=LIMITED)).code == 20
    office.add_app("calm")
    assert (await office.run("alerts", "calm")).err == "nothing of calm has failed yet\n"


async def test_redis_of_an_app_that_has_none(office: Office) -> None:
    office.add_app("shop")
    done = await office.run("redis:info", "shop")
    assert (done.code, done.err) == (1, "shop has no redis: set 'redis: true' in its manifest and push it")
