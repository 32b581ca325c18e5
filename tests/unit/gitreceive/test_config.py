"""Config values: what may come in, one by one or as a file, what comes out, and what is remembered of a change."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.apps import CONFIG_LIMIT, CONFIG_SIZE, VALUE_LIMIT
from runtime.envfile import parse, render_env, render_json
from runtime.errors import UsageError
from runtime.store.apps import CHANGES_KEPT
from tests.unit.gitreceive.desk import Office
from tests.unit.runtime.samples import NOW, VIEWER, spec, web, worker

SECRET = "hunter2"

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.text("'\"\\ \n\r\t#=$`{}ab")


def config(office: Office, app: str = "shop") -> dict[str, str]:
    with office.store.read() as tx:
        return tx.apps.config(app)


# ---- the file ---------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.dictionaries(names, texts))
def test_what_is_exported_is_imported_again_the_same(values: dict[str, str]) -> None:
    assert parse(render_env(values), CONFIG_LIMIT) == values
    assert parse(render_json(values), CONFIG_LIMIT) == values


def test_quotes_are_single_unless_the_value_has_one() -> None:
    values = {"A": r"a\b$C", "B": "it's \\ $D", "E": "e"}
    assert render_env(values) == "A='a\\b$C'\nB=\"it's \\\\ \\$D\"\nE=e\n"


@settings(max_examples=300)
@given(st.text() | st.text("A=' \"\\\n#{}:,export\0"))
def test_any_text_is_read_or_refused_in_a_sentence(text: str) -> None:
    try:
        found = parse(text, CONFIG_LIMIT)
    except UsageError as error:
        sentence = str(error)
    else:
        sentence = ""
        assert all(isinstance(value, str) for value in found.values())
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("\n# only a comment\n\n", {}),
        ("A=1", {"A": "1"}),
        ("export A=1\n  export  B = two words  \n", {"A": "1", "B": "two words"}),
        ("A=x # note\nB=x#y\nC=#x\nD= # note\nE=", {"A": "x", "B": "x#y", "C": "#x", "D": "", "E": ""}),
        ("A='x # y' # note\nB=\"\"\nC=''", {"A": "x # y", "B": "", "C": ""}),
        ("A='one\ntwo'\nB=\"three\nfour\"\n", {"A": "one\ntwo", "B": "three\nfour"}),
        (r'A="a\nb\t\"c\" \\ \$HOME \q"', {"A": 'a\nb\t"c" \\ $HOME \\q'}),
        (r"A='a\nb'", {"A": r"a\nb"}),
        ("A=$B ${C} `d`", {"A": "$B ${C} `d`"}),
        ("A=x\r\nB='y'\r\n", {"A": "x", "B": "y"}),
        ("\ufeffA=x", {"A": "x"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=a=b==", {"A": "a=b=="}),
        ("A=it's", {"A": "it's"}),
        ('{"A": "x\\ny", "B": "ä"}', {"A": "x\ny", "B": "ä"}),
        ("  {}", {}),
    ],
)
def test_file_is_read_as_it_is_meant(text: str, values: dict[str, str]) -> None:
    assert parse(text, CONFIG_LIMIT) == values


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"\n\nA\nB={SECRET}", "line 3 is not KEY=VALUE"),
        (f"={SECRET}", "line 1 is not KEY=VALUE"),
        (f"A=1\nB='{SECRET}\n\n", "line 2 opens a quote that is not closed"),
        (f"A='a\nb' {SECRET}", "line 2 goes on behind the closing quote: quote the whole value"),
        ('{"A": 1}', "the value of A is no text: put it in quotes"),
        ('{"A": null}', "the value of A is no text"),
        (f'{{\n"A": "{SECRET}",\n}}', "line 3 is not valid JSON"),
        ("{" * 100_000, "JSON"),
        ('{"A":' + "[" * 100_000, "this is not a JSON object of texts"),
        ("\n".join(f"A{number}=" for number in range(CONFIG_LIMIT + 1)), f"there are more than {CONFIG_LIMIT} values"),
    ],
)
def test_wrong_file_is_refused_by_line_and_never_by_value(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        parse(text, CONFIG_LIMIT)
    assert SECRET not in str(caught.value)


def test_exported_file_is_one_that_a_shell_reads_too(tmp_path: Path) -> None:
    values = {
        "A": "x y", "B": 'say "hi" $HOME `id` # no', "C": "one\ntwo", "D": "", "E": "plain/1.2", "F": "ä€",
        "G": r"C:\new\$x \\",
        "H": "it's $HOME `id` \\n \\\\ \"x\"\n$(id)", "I": "a\tb\r\x1b[1m", "J": "it's\ta", "K": "'",
    }  # fmt: skip
    assert parse(render_env(values), CONFIG_LIMIT) == values
    (tmp_path / "file.env").write_text(render_env(values))
    shell = shutil.which("sh")
    assert shell is not None
    line = " ".join(f'"${name}"' for name in values)
    words = (shell, "-c", f'set -a; . {tmp_path}/file.env; printf "%s\\0" {line}')
    done = subprocess.run(words, capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
    assert done.stdout.decode().split("\0")[:-1] == list(values.values())


# ---- in and out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["two words", "a=b=", 'it\'s "quoted"', "one\ntwo\n", "ä€😀", "", " ", "-", "--x"])
async def test_value_passes_unchanged(office: Office, value: str) -> None:
    office.add_app("shop")
    assert (await office.run("config:set", "shop", f"A={value}")).code == 0
    assert config(office) == {"A": value}
    assert (await office.run("config:get", "shop", "A")).out == f"{value}\n"


async def test_an_empty_value_is_not_shown_as_a_dash(office: Office) -> None:
    office.add_app("shop")
    await office.run("config:set", "shop", "A=", "B=-")
    assert [row.split() for row in (await office.run("config", "shop", "--show")).out.splitlines()[1:]] == [
        ["A"],
        ["B", "-"],
    ]
    shown = json.loads((await office.run("config", "shop", "--show", "-o", "json")).out)
    assert [row["value"] for row in shown] == ["", "-"]


async def test_several_values_are_printed_in_the_order_asked_for(office: Office) -> None:
    office.add_app("shop")
    await office.run("config:set", "shop", "A=1", "B=two words")
    assert (await office.run("config:get", "shop", "B", "A")).out == "two words\n1\n"
    missing = await office.run("config:get", "shop", "A", "NOPE")
    assert (missing.code, missing.out) == (1, "")


async def test_who_sets_what_the_platform_sets_is_told_where_it_wins(office: Office) -> None:
    office.add_app("shop", 1, live=1, spec=spec(web(), worker("mailer"), redis=True))
    with office.store.write() as tx:
        tx.apps.set_redis_password("shop", "sesame")
        tx.apps.replace_config("shop", {"PORT": "1", "REDIS_URL": "x", "OTHER": "y"}, "anna", NOW)
    for words in (
        ("config:set", "shop", "PORT=1", "REDIS_URL=x", "OTHER=y"),  # what they are: no deploy
        ("apps:update", "shop", "--env", "PORT=1", "--env", "REDIS_URL=x", "--env", "OTHER=y"),
    ):
        done = await office.run(*words)
        assert (done.code, done.err.splitlines()) == (
            0,
            [
                " !     PORT is set by the platform, whose value wins in web, hooks, cron jobs and one-off runs",
                " !     REDIS_URL is set by the platform, whose value wins in "
                "web, mailer, hooks, cron jobs and one-off runs",
            ],
        )


@pytest.mark.parametrize(
    ("typed", "value"), [(b"x", "x"), (b"x\n", "x"), (b"x\n\n", "x\n"), (b"", ""), ("ä\n-".encode(), "ä\n-")]
)
async def test_value_from_standard_input(office: Office, typed: bytes, value: str) -> None:
    office.add_app("shop")
    done = await office.run("config:set", "shop", "B=1", "--stdin", "A", typed=typed)
    assert (done.code, done.err) == (0, "")
    assert config(office) == {"A": value, "B": "1"}


@pytest.mark.parametrize(
    ("words", "typed", "sentence"),
    [
        (
            ("config:set", "shop", "--stdin", "A"),
            b"x" * (VALUE_LIMIT + 2),
            "the value of A on standard input is longer",
        ),
        (("config:set", "shop", "--stdin", "A"), b"x" * (VALUE_LIMIT + 1), "the value of A is not possible"),
        (("config:set", "shop", "--stdin", "A"), b"\xff\xfe", "the value of A on standard input is not text in UTF-8"),
        (("config:set", "shop", "A=\udcff"), b"", "the command line is not text in UTF-8"),
        (("config:import", "shop"), b"A=" + b"x" * 1024 * 1024, "the file on standard input is longer than 1048576"),
        (("config:import", "shop"), b'{"A": "\\ud800"}', "the value of A is not text in UTF-8"),
        (("config:import", "shop"), b"LOCKSTEP_APP=x", "names that begin with LOCKSTEP_ are set by the platform"),
        (("config:import", "shop"), b"1A=x", "'1A' is not a variable name"),
    ],
)
async def test_what_can_not_be_a_value(office: Office, words: tuple[str, ...], typed: bytes, sentence: str) -> None:
    office.add_app("shop")
    done = await office.run(*words, typed=typed)
    assert (done.code, sentence in done.err) == (2, True), done.err
    assert config(office) == {}


async def test_import_adds_to_what_is_there(office: Office) -> None:
    office.add_app("shop")
    await office.run("config:set", "shop", "A=1", "B=2")
    done = await office.run("config:import", "shop", typed=b"# new\nexport B='3 4'\nC=5\n")
    assert (done.code, done.out) == (0, "stored for the first push to shop\n")
    assert config(office) == {"A": "1", "B": "3 4", "C": "5"}


@pytest.mark.parametrize("form", ["env", "json"])
async def test_export_of_one_app_is_an_import_of_another(office: Office, form: str) -> None:
    office.add_app("shop")
    office.add_app("blog")
    await office.run("config:set", "shop", "A=one\ntwo", "B=it's", 'C="\\')
    exported = await office.run("config:export", "shop", "--format", form)
    assert exported.code == 0
    await office.run("config:import", "blog", typed=exported.out.encode())
    assert config(office, "blog") == config(office, "shop")


async def test_missing_value_is_named(office: Office) -> None:
    office.add_app("shop")
    done = await office.run("config:get", "shop", "A")
    assert (done.code, done.out, done.err) == (1, "", "A is not set on shop: 'config shop' lists what is")


async def test_whole_config_is_bounded(office: Office) -> None:
    office.add_app("shop")
    big = "x" * VALUE_LIMIT
    values = {f"A{number}": big for number in range(CONFIG_SIZE // VALUE_LIMIT)}
    with office.store.write() as tx:
        tx.apps.replace_config("shop", dict(list(values.items())[:-1]), "anna", NOW)
    done = await office.run("config:set", "shop", f"LAST={big}")
    assert (done.code, done.err) == (1, f"the config of shop would have 1048615 bytes and {CONFIG_SIZE} are allowed")
    many = {f"A{number}": "" for number in range(CONFIG_LIMIT)}
    with office.store.write() as tx:
        tx.apps.replace_config("shop", many, "anna", NOW)
    assert (await office.run("config:set", "shop", "A0=new")).code == 0
    done = await office.run("config:set", "shop", "ONE=more")
    assert (done.code, done.err) == (1, "shop would have 513 config values and 512 are allowed")


# ---- what is remembered -----------------------------------------------------------------------------------------


async def test_history_names_what_changed_and_holds_no_value(office: Office) -> None:
    office.add_app("shop")
    await office.run("config:set", "shop", f"A={SECRET}", "B=1")
    await office.run("config:set", "shop", f"A={SECRET}", "B=2", "C=3")
    await office.run("config:set", "shop", f"A={SECRET}")
    await office.run("config:unset", "shop", "A")
    done = await office.run("config:history", "shop", "-o", "json", who=VIEWER)
    assert [(row["what"], row["set"], row["changed"], row["unset"]) for row in json.loads(done.out)] == [
        ("config:unset A", [], [], ["A"]),
        ("config:set A B C", ["C"], ["B"], []),
        ("config:set A B", ["A", "B"], [], []),
    ]
    assert {row["who"] for row in json.loads(done.out)} == {"anna"}
    office.store.close()
    written = b"".join(path.read_bytes() for path in office.folder.glob("lockstep.db*"))
    assert SECRET.encode() not in written


async def test_history_is_short_on_paper_too(office: Office) -> None:
    office.add_app("shop")
    assert (await office.run("config:history", "shop")).err == "the config of shop was never changed\n"
    await office.run("config:set", "shop", *(f"A{number}=" for number in range(10)))
    rows = json.loads((await office.run("config:history", "shop", "-o", "json")).out)
    assert rows[0]["what"] == "config:set A0 A1 A2 A3 A4 A5 A6 A7 and 2 more"
    assert len(rows[0]["set"]) == 10


def test_history_of_one_app_is_bounded(office: Office) -> None:
    office.add_app("shop")
    office.add_app("blog")
    with office.store.write() as tx:
        tx.apps.replace_config("blog", {"A": "1"}, "anna", NOW)
        for number in range(CHANGES_KEPT + 5):
            tx.apps.replace_config("shop", {"A": str(number)}, "anna", NOW + timedelta(seconds=number))
        found = tx.apps.config_changes("shop", limit=10_000)
        assert len(found) == CHANGES_KEPT
        assert found[0].at == NOW + timedelta(seconds=CHANGES_KEPT + 4)
        assert len(tx.apps.config_changes("blog")) == 1
