"""README.md says what the code does: its tables are compared with what they describe, both ways."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from builder.manifest.pending import PENDING
from gitreceive.commands.base import GatedCommand, registry
from gitreceive.commands.cron import TIMED_OUT
from gitreceive.main import host
from gitreceive.push import OPTIONS
from runtime.engine.specs import environment
from runtime.errors import LockstepError
from runtime.model import CronRun, RunState, Trigger
from runtime.place import place_in
from runtime.scheduler.containers import spec_of
from runtime.settings import Settings
from tests.readme import README, ROOT, TEXT, block, blocks, quoted, rows, section
from tests.unit.manifest.conftest import read
from tests.unit.runtime.samples import NOW, cron, new_store, release, web

LONGEST = 360  # lines
RUN = {"instance-init", "instance-serve", "instance-doctor", "instance-destroy", "first-push", "first-look"}
DOCS = (README, ROOT / "docs" / "engine.md")


def test_it_is_short() -> None:
    assert len(TEXT.splitlines()) <= LONGEST


def test_every_command_stands_in_the_table_once_with_its_noun_and_role() -> None:
    written = [(words.split()[0], noun, role) for noun, cell, role, _ in rows("Commands") for words in quoted(cell)]
    commands = registry.tree().commands.values()
    assert sorted(written) == sorted(
        (str(command.name), command.noun.rstrip("_"), command.role.value)
        for command in commands
        if isinstance(command, GatedCommand)
    )


def test_every_host_command_is_named_and_no_other() -> None:
    named = re.findall(r"(?:^|[`/])lockstep ([a-z]+)", TEXT, re.MULTILINE)
    assert set(named) == set(host.commands)


def test_every_setting_stands_in_the_table_with_its_default() -> None:
    written = {
        name: default.strip("`")
        for names, defaults, _ in rows("Settings")
        for name, default in zip(quoted(names), defaults.split(", "), strict=True)
    }
    assert written == {
        name: "--home" if field.is_required() else _shown(field.default)
        for name, field in Settings.model_fields.items()
    }


def _shown(default: object) -> str:
    if isinstance(default, bool) or default is None:
        return str(default).lower()
    return f"{default:.10g}" if isinstance(default, int | float) else str(default)


def test_exit_codes_are_those_of_the_errors() -> None:
    def codes(kind: type[LockstepError]) -> set[int]:
        return {kind.exit_code}.union(*(codes(inner) for inner in kind.__subclasses__()))

    assert {int(row[0]) for row in rows("Exit codes")} == {0, TIMED_OUT} | codes(LockstepError)


def test_every_push_option_stands_in_the_table() -> None:
    assert [quoted(row[0])[0] for row in rows("Push options")] == [f"git push -o {option}" for option in OPTIONS]


def test_environment_of_processes_is_written_down(tmp_path: Path) -> None:
    shop, store = release(web(), redis=True), new_store(tmp_path)
    with store.write() as tx:
        tx.apps.create(shop.app, NOW)
        tx.apps.set_redis_password(shop.app, "secret")
        place = place_in(tx, "test", shop)
    store.close()
    tick = CronRun(id=1, app="shop", job="nightly", slot=NOW, trigger=Trigger.SCHEDULE, state=RunState.DUE, release=1)
    given = {*environment(shop, "web", place, port=8000), *spec_of(tick, shop, cron(), place)["Env"]}
    written = {name for row in rows("Environment of processes") for name in quoted(row[0])}
    assert {item.partition("=")[0] for item in given} == written


def test_manifest_is_one_without_warnings() -> None:
    manifest = read({".paas/app.yaml": block("manifest")})
    assert manifest.warnings == ()
    assert [process.name for process in manifest.spec.processes] == ["web", "mailer"]
    assert manifest.spec.crons
    assert manifest.spec.redis


def test_keys_that_nothing_acts_on_are_named() -> None:
    [line] = [line for line in section("What it does not do yet").split("\n- ") if line.startswith("**Keys that")]
    assert set(quoted(line)) == {key for keys in PENDING.values() for key in keys}


def test_every_shell_block_is_run_by_a_test() -> None:
    assert {name for name, _ in blocks("sh")} == RUN


def test_unit_file_starts_the_server_as_the_page_does() -> None:
    [(_, text)] = blocks("ini")
    unit = configparser.ConfigParser()
    unit.read_string(text)
    assert unit["Service"]["ExecStart"] == f"/opt/lockstep/{block('instance-serve').strip()}"


def test_make_targets_are_there() -> None:
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    named = {
        word for text in (TEXT, block("instance-init")) for word in re.findall(r"(?m)(?:^ *|`)make ([a-z]+)", text)
    }
    assert {"demo", "stop", "test", "lint"} <= named <= targets


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lower()).replace(" ", "-") for line in re.findall(r"(?m)^#+ (.+)$", text)
    }
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    lost = [link for link in links if not link.startswith("#") and not (page.parent / link.partition("#")[0]).exists()]
    lost += [link for link in links if link.startswith("#") and link[1:] not in headings]
    assert lost == []
