"""The record of who did what: one event for each thing that was tried, and nothing secret in it."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import timedelta

import asyncssh
import pytest

from gitreceive.commands.base import registry
from gitreceive.maintenance import EVENTS_FOR, forget_old_events
from gitreceive.model import Push, RefUpdate
from gitreceive.record import Deed, recorded
from runtime.errors import NoSuchApp, Refused
from runtime.model import Key, Role
from runtime.store.people import Event
from tests.unit.gitreceive.desk import Office, Streams
from tests.unit.runtime.samples import ADMIN, COMMIT, DEVELOPER, NOW, VIEWER, key

LIMITED = key("lena", role=Role.DEVELOPER, apps=("shop",))
WHOLE = RefUpdate("refs/tags/v1", "0" * 40, COMMIT)


def events(office: Office) -> list[Event]:
    with office.store.read() as tx:
        return tx.events.of(None)


def told(office: Office) -> list[tuple[str, str | None, str, str, str]]:
    """Newest first."""
    return [(event.who, event.app, event.action, event.detail, event.result) for event in events(office)]


# ---- commands ---------------------------------------------------------------------------------------------------


async def test_command_that_changes_something_leaves_one_event(office: Office) -> None:
    await office.run("apps:create", "shop", who=DEVELOPER)
    await office.run("config:set", "shop", "TOKEN=hunter2", "A=b", who=DEVELOPER)
    await office.run("apps", who=DEVELOPER)
    await office.run("config:get", "shop", "TOKEN", who=DEVELOPER)
    assert told(office) == [
        ("dora", "shop", "config:set", "A TOKEN", "ok"),
        ("dora", "shop", "apps:create", "", "ok"),
    ]
    assert [(event.at, event.source) for event in events(office)] == [(NOW, "192.0.2.7")] * 2


async def test_failure_is_told_by_its_sentence(office: Office) -> None:
    office.add_app("shop", 1, live=1)
    await office.run("rollback", "shop", "v7")
    await office.run("cron:run", "shop", "nightly")
    assert told(office) == [
        ("anna", "shop", "cron:run", "nightly", "shop v1 has no cron job 'nightly': it has none"),
        ("anna", "shop", "rollback", "v7", "shop has no release v7: 'releases shop' lists all"),
    ]


async def test_refusals_are_told(office: Office) -> None:
    office.add_app("shop")
    await office.run("apps:destroy", "shop", "--force", who=VIEWER)
    await office.run("config:set", "blog", "A=b", who=LIMITED)
    assert told(office) == [
        ("lena", "blog", "config:set", "", "there is no app 'blog': 'apps' lists those there are"),
        ("vera", "shop", "apps:destroy", "", "the key 'vera' has the role viewer: this takes an admin"),
    ]


async def test_words_that_do_not_fit_leave_no_event(office: Office) -> None:
    """Their sentence may repeat a word, and the word may be a secret that was typed in the wrong place."""
    office.add_app("shop")
    assert (await office.run("config:set", "shop", "hunter2")).code == 2
    assert (await office.run("config:unset", "shop", "TOKEN=hunter2")).code == 2
    assert (await office.run("ps:scale", "shop", "web")).code == 2
    assert events(office) == []


async def test_no_value_and_no_key_reaches_the_record(office: Office) -> None:
    office.add_app("shop")
    public = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode()
    await office.run("config:set", "shop", "A=hunter2", "--stdin", "B", typed=b"hunter2")
    await office.run("config:import", "shop", typed=b"C=hunter2\n")
    await office.run("config:unset", "shop", "C")
    await office.run("keys:add", "ci", "--app", "shop", "--command", "logs", typed=public.encode())
    await office.run("keys:remove", "ci")
    assert [(action, detail) for _, _, action, detail, _ in told(office)] == [
        ("keys:remove", "ci"),
        ("keys:add", "ci developer shop logs"),
        ("config:unset", "C"),
        ("config:import", "C"),
        ("config:set", "A B"),
    ]
    assert "hunter2" not in repr(events(office))


async def test_hostile_words_are_made_harmless(office: Office) -> None:
    await office.run("config:set", "\x1b]0;owned\x07" + "x" * 1000, "A=b")
    await office.run("keys:remove", "\x1b[2Jall\nof " + "y" * 1000)
    for event in events(office):
        assert (event.app, event.detail.isprintable(), event.result.isprintable()) == (None, True, True)
        assert max(len(event.detail), len(event.result)) <= 300


async def test_command_that_was_not_waited_for_is_told(office: Office) -> None:
    """It may have had its effect: a deploy past its commit point goes on."""

    async def wait() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(recorded(office.parts, Deed("anna", "", "cron:run", "shop"), wait))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told(office)[0][4] == "its client went away, its key was removed, or the server was stopped, before it ended"


@pytest.mark.parametrize(("result", "sentence"), [(None, "ok"), (0, "ok"), (3, "exit code 3")])
async def test_end_is_told(office: Office, result: int | None, sentence: str) -> None:
    assert await recorded(office.parts, Deed("anna", "", "cron:run", "shop"), lambda: result) == result
    assert told(office)[0][4] == sentence


async def test_internal_error_is_told_without_its_text(office: Office) -> None:
    def work() -> None:
        raise ValueError("hunter2")

    with pytest.raises(ValueError, match="hunter2"):
        await recorded(office.parts, Deed("anna", "", "cron:run", "shop"), work)
    assert told(office)[0][4] == "internal error, see the server's log"


async def test_store_that_takes_no_event_does_not_undo_the_deed(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    office.store.close()
    (office.folder / "lockstep.db").write_bytes(b"not a database" * 1000)
    with caplog.at_level(logging.WARNING):
        assert await recorded(office.parts, Deed("anna", "", "ps:scale", "shop"), lambda: 0) == 0
    assert "ps:scale by anna is not in the record (ok)" in caplog.text


def test_commands_that_change_something_are_recorded_unless_they_say_why_not() -> None:
    """A new command is recorded when its role is above viewer; those that only look are named here."""
    quiet = {name for name, one in registry.tree().commands.items() if not getattr(one, "records", True)}
    above = {name for name in quiet if getattr(registry.tree().commands[name], "role", None) is not Role.VIEWER}
    assert above == {"config:get", "config:export", "keys", "run:list", "run:logs"}


# ---- pushes -----------------------------------------------------------------------------------------------------


async def test_first_push_leaves_two_events(office: Office) -> None:
    await office.pushes.admit(DEVELOPER, "shop", write=True, source="192.0.2.9")
    await office.pushes.push(Push("shop", (WHOLE,), ("message=hi",), DEVELOPER, source="192.0.2.9"), Lines())
    assert told(office) == [
        ("dora", "shop", "git-push", "refs/tags/v1 1a2b3c4, -o message=hi", "ok"),
        ("dora", "shop", "apps:create", "by its first push", "ok"),
    ]
    assert {event.source for event in events(office)} == {"192.0.2.9"}


async def test_refused_push_is_told_and_a_refused_fetch_is_not(office: Office) -> None:
    office.add_app("shop")
    with pytest.raises(Refused):
        await office.pushes.admit(VIEWER, "shop", write=True)
    with pytest.raises(NoSuchApp):
        await office.pushes.admit(VIEWER, "blog", write=False)
    assert [row[2:] for row in told(office)] == [
        ("git-push", "", "the key 'vera' has the role viewer: this takes a developer")
    ]


async def test_refused_ref_is_the_result_of_its_push(office: Office) -> None:
    office.add_app("shop")
    updates = [RefUpdate(f"refs/notes/{number}", "0" * 40, COMMIT) for number in range(7)]
    await office.pushes.push(Push("shop", tuple(updates), (), DEVELOPER), Lines())
    [(_, _, _, detail, result)] = told(office)
    assert detail.endswith("refs/notes/4 1a2b3c4, and 2 more refs")
    assert result == "only branches and tags are stored here"


class Lines:
    """A pusher who hears nothing."""

    def write(self, text: str) -> None:
        pass


# ---- reading it -------------------------------------------------------------------------------------------------


def filled(office: Office) -> None:
    for app in ("shop", "blog"):
        office.add_app(app)
    with office.store.write() as tx:
        for number, on in enumerate(("shop", "blog", None)):
            now = NOW + timedelta(seconds=number)
            tx.events.add(who="anna", app=on, action=f"a{number}", result="ok", now=now, source="192.0.2.7")


@pytest.mark.parametrize(
    ("operator", "words", "seen"),
    [
        (ADMIN, (), ["a0", "a1", "a2"]),
        (ADMIN, ("-n", "2"), ["a1", "a2"]),
        (ADMIN, ("shop",), ["a0"]),
        (VIEWER, (), ["a0", "a1"]),
        (LIMITED, (), ["a0"]),
        (LIMITED, ("shop",), ["a0"]),
        (key("lara", role=Role.ADMIN, apps=("blog",)), (), ["a1"]),
    ],
)
async def test_who_sees_what(office: Office, operator: Key, words: tuple[str, ...], seen: list[str]) -> None:
    filled(office)
    done = await office.run("events", *words, "-o", "json", who=operator)
    assert [row["what"] for row in json.loads(done.out)] == seen


async def test_event_as_a_row(office: Office) -> None:
    filled(office)
    assert json.loads((await office.run("events", "shop", "-o", "json")).out) == [
        {
            "when": "2026-01-02T03:04:05.678901Z",
            "who": "anna",
            "from": "192.0.2.7",
            "app": "shop",
            "what": "a0",
            "detail": "",
            "result": "ok",
        }
    ]
    done = await office.run("events", "blog", who=LIMITED)
    assert (done.code, done.err) == (20, "there is no app 'blog': 'apps' lists those there are")


class Heard(Streams):
    """Streams that one can wait at."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = asyncio.Event()

    def write(self, data: bytes, *, error: bool = False) -> None:
        super().write(data, error=error)
        self.heard.set()

    async def until(self, text: bytes) -> None:
        while text not in self.out:
            self.heard.clear()
            await self.heard.wait()


@pytest.mark.parametrize("count", ["0", "1"])
async def test_following_shows_what_comes_and_only_what_may_be_seen(office: Office, count: str) -> None:
    filled(office)
    streams = Heard()
    task = asyncio.create_task(office.commands.run(LIMITED, ("events", "-f", "-n", count, "-o", "json"), streams))
    async with asyncio.timeout(10):
        await asyncio.sleep(0)  # its first look is done in its first step
        with office.store.write() as tx:
            for app in ("blog", None, "shop"):
                tx.events.add(who="bert", app=app, action="later", result="ok", now=NOW)
        await streams.until(b"later")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    rows = [json.loads(line) for line in streams.out.splitlines()]
    assert [(row["app"], row["what"]) for row in rows] == [("shop", "a0"), ("shop", "later")][1 - int(count) :]


def test_record_is_bounded_in_age_and_number(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitreceive.maintenance.EVENTS_KEPT", 3)
    with office.store.write() as tx:
        tx.events.add(who="anna", action="old", result="ok", now=NOW - EVENTS_FOR - timedelta(seconds=1))
        for number in range(4):
            tx.events.add(who="anna", action=f"a{number}", result="ok", now=NOW)
    forget_old_events(office.parts)
    assert [event.action for event in events(office)] == ["a3", "a2", "a1"]
