"""`logs` on real files: kinds, filters, forms, and following."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gitreceive.model import Terminal
from runtime.logbook.entry import Entry, LogKind, Stream, note, stamp
from runtime.logbook.telling import tell_log
from runtime.model import DeployState
from runtime.story import Story
from tests.unit.gitreceive.desk import Office, office_in
from tests.unit.runtime import samples
from tests.unit.runtime.samples import NOW


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with office_in(tmp_path) as found:
        found.add_app("shop", 1, 2, live=2)
        yield found


def write(office: Office, *entries: Entry) -> None:
    office.parts.logbook.append("shop", entries)


def line(
    text: str, ago: int = 0, *, kind: LogKind = LogKind.APP, process: str = "web.1", release: int | None = 2
) -> Entry:
    return Entry(stamp(NOW - timedelta(seconds=ago)), kind, process, text, release=release)


async def told(office: Office, *words: str) -> list[str]:
    done = await office.run("logs", "shop", *words)
    assert done.code == 0, done.err
    return [row.split("]: ", 1)[1] for row in done.out.splitlines()]


async def test_own_kinds_are_shown_unless_others_are_asked_for(office: Office) -> None:
    write(office, *(line(kind.value, kind=kind) for kind in LogKind))
    assert await told(office) == ["app", "cron", "predeploy"]
    assert await told(office, "-t", "router,build", "-t", "deploy") == ["build", "deploy", "router"]
    assert len(await told(office, "-t", "all")) == len(LogKind)


async def test_filters(office: Office) -> None:
    write(office, line("old", 7200, release=1), line("web", 60), line("mail", 30, process="mailer.2"), line("new", 1))
    assert await told(office, "-p", "web") == ["old", "web", "new"]
    assert await told(office, "-p", "mailer.2") == ["mail"]
    assert await told(office, "--since", "10m") == ["web", "mail", "new"]
    assert await told(office, "--release", "v1") == ["old"]
    assert await told(office, "-n", "2", "-p", "web") == ["web", "new"]
    assert await told(office, "-n", "0") == []


async def test_lines_of_a_deploy_belong_to_the_release_it_made(office: Office) -> None:
    deploys = []
    for number in (1, 2):
        with office.store.write() as tx:
            begun = tx.deploys.begin("shop", "push", "anna", samples.COMMIT, None, NOW)
            deploys.append(begun.model_copy(update={"release": number, "state": DeployState.LIVE}))
            tx.deploys.record(deploys[-1], NOW)
        write(office, Entry(stamp(NOW), LogKind.BUILD, f"d{begun.id}", f"building {number}", deploy=begun.id))
    assert await told(office, "-t", "build", "--release", "2") == ["building 2"]


async def test_release_that_is_not_there(office: Office) -> None:
    done = await office.run("logs", "shop", "--release", "9")
    assert done.code == 1
    assert "v9" in done.err


async def test_forms_of_a_line(office: Office) -> None:
    write(office, line("\x1b[31mred\x1b]0;title\x07"))
    text = "2026-01-02T03:04:05.678Z app[web.1]:"
    assert (await office.run("logs", "shop")).out == f"{text} \x1b[31mred\x1b[0m\n"
    shown = await office.run("logs", "shop", terminal=Terminal("xterm", 80, 24, {}))
    assert shown.out == f"\x1b[36m{text}\x1b[0m \x1b[31mred\x1b[0m\n"
    found = json.loads((await office.run("logs", "shop", "-o", "json")).out)
    assert found == {
        "at": "2026-01-02T03:04:05.678Z", "kind": "app", "process": "web.1", "release": 2, "deploy": None,
        "stream": "stdout", "text": "\x1b[31mred\x1b[0m",
    }  # fmt: skip


async def test_empty_log_says_so(office: Office) -> None:
    done = await office.run("logs", "shop", "-p", "web.1")
    assert (done.code, done.out) == (0, "")
    assert done.err == "nothing that fits was written by web.1 yet: '-t all' shows every kind of line\n"


@pytest.mark.parametrize("words", [("-p", "mailr"), ("-f", "-p", "mailr"), ("-p", "mailr.1", "-n", "0", "--tail")])
async def test_process_that_never_was_is_a_typo(office: Office, words: tuple[str, ...]) -> None:
    write(office, line("x"), note(stamp(NOW), "about the log itself"))
    done = await office.run("logs", "shop", *words)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"shop has no process or job '{words[words.index('-p') + 1]}': it has web"


async def test_process_that_is_gone_has_a_log(office: Office) -> None:
    """Of an older release, or by its lines alone."""
    job = samples.release(samples.web(), number=3, spec=samples.spec(samples.web(), crons=(samples.cron("tidy"),)))
    with office.store.write() as tx:
        tx.releases.add(job)
    write(office, line("old", process="mailer.1", release=1))
    assert await told(office, "-p", "mailer") == ["old"]
    assert await told(office, "--num", "5", "-p", "tidy") == []


async def test_processes_of_what_is_not_live_yet_can_be_waited_for(office: Office) -> None:
    office.add_app("blog")
    assert (await office.run("logs", "blog", "-p", "web")).code == 0


async def test_follower_goes_on_until_the_app_is_gone(office: Office) -> None:
    write(office, line("before"))
    following = asyncio.create_task(office.run("logs", "shop", "-f"))
    await asyncio.sleep(0.1)
    write(office, line("after"), line("a request", kind=LogKind.ROUTER))
    await asyncio.sleep(0.1)
    office.parts.logbook.forget("shop")
    done = await following
    assert [row.split("]: ")[1] for row in done.out.splitlines()] == ["before", "after"]
    assert done.err == "shop is gone, and its log with it\n"


async def test_size_is_among_the_facts_of_an_app(office: Office) -> None:
    assert json.loads((await office.run("apps:info", "shop", "-o", "json")).out)["logs"] == "0.0 of 20 MiB"


def test_story_of_a_deploy_is_told_by_its_steps(office: Office) -> None:
    story = Story(lambda _: None)
    deploy = samples.deploy(7)
    tell_log(office.parts, story, lambda: deploy)
    deploy = samples.deploy(7, state=DeployState.BUILDING)
    story.step("Building")
    deploy = samples.deploy(7, state=DeployState.PREDEPLOY, release=3)
    story.topic = "migrate"
    story.detail("made a table")
    deploy = samples.deploy(7, state=DeployState.UNDOING, release=3)
    story.trouble("migrate exited with 1")
    extent = office.parts.logbook.of("shop").extent()
    rows = [json.loads(row) for row in extent.files[0][0].read_text().splitlines()[1:]]
    assert [(row["k"], row["p"], row.get("r"), row["d"], row["x"]) for row in rows] == [
        ("build", "d7", None, 7, "-----> Building"),
        ("predeploy", "migrate", 3, 7, "made a table"),
        ("deploy", "v3", 3, 7, " !     migrate exited with 1"),
    ]
    assert {row["s"] for row in rows} == {Stream.OUT.value}
