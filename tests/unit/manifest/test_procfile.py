"""`Procfile`: its grammar, and what it means as the only manifest."""

from __future__ import annotations

import pytest

from builder.manifest.procfile import parse
from runtime.model import AppSpec, Dialect, Health, Hook, Manifest, Process, ProcessKind, Shell
from tests.unit.manifest.conftest import PROCFILE, read, refusal


def test_whole_file() -> None:
    text = "web: gunicorn app\nrelease: ./migrate\nworker: python -m worker\ncron: python -m clock\n"
    spec = AppSpec(
        dialect=Dialect.PROCFILE,
        processes=(
            Process(
                name="web",
                kind=ProcessKind.WEB,
                command="gunicorn app",
                shell=Shell.BASH,
                port=5000,
                health=Health(),
                grace=30.0,
            ),
            worker("worker", "python -m worker"),
            worker("cron", "python -m clock"),
        ),
        hooks=(Hook(name="release", command="./migrate", shell=Shell.BASH, timeout=3600.0),),
    )
    warning = "Procfile: worker, cron: worker types start with 1 replica here, not with 0 as on Heroku"
    assert read({PROCFILE: text}) == Manifest(spec=spec, warnings=(warning,))


def worker(name: str, command: str) -> Process:
    return Process(name=name, kind=ProcessKind.WORKER, command=command, shell=Shell.BASH, grace=30.0)


def test_without_web_line() -> None:
    manifest = read({PROCFILE: "worker: x"})
    assert manifest.spec.web is None
    assert manifest.warnings[0] == "Procfile: there is no 'web' line, so the app answers no requests"


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("web: a b", {"web": "a b"}),
        ("web:a\r\n\r\n  worker : b  \r\n", {"web": "a", "worker": "b"}),
        ("# c\n  // c\nweb: a", {"web": "a"}),
        ("web: a # c", {"web": "a"}),
        ("web: a#b", {"web": "a#b"}),
        ("web: echo 'a # b' # c", {"web": "echo 'a # b'"}),
        ('web: echo "a \\" # b" # c', {"web": 'echo "a \\" # b"'}),
        ("web: echo \\# b", {"web": "echo \\# b"}),
        ("web: a: b", {"web": "a: b"}),
        ("my-job_2: x", {"my-job_2": "x"}),
        ("web: bin/start $PORT && echo 'ü'", {"web": "bin/start $PORT && echo 'ü'"}),
    ],
)
def test_grammar(text: str, types: dict[str, str]) -> None:
    assert parse(text) == types


NONE = "Procfile: the file has no line such as 'web: command', add one or remove the file"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", NONE),
        ("# nothing", NONE),
        ("web", "Procfile: line 1: expected 'type: command', got 'web'"),
        ("we b: x", "Procfile: line 1: expected 'type: command', got 'we b: x'"),
        ("web: a\nweb: b", "Procfile: line 2: the type 'web' is there twice, keep one"),
        ("web:", "Procfile: line 1: is empty, give it a command or remove the key"),
        ("web: # c", "Procfile: line 1: is empty, give it a command or remove the key"),
        (
            "Worker: x",
            "Procfile: line 1: 'Worker' is not a process name: use 1 to 40 lowercase letters, digits, hyphens and "
            "underscores",
        ),
        ("web: \0", "Procfile: line 1: the command holds a character that no program takes, remove it"),
        ("\x1b[31m", "Procfile: line 1: expected 'type: command', got '\\x1b[31m'"),
        (b"web: \xff", "Procfile: byte 6 is not UTF-8 text, save the file as UTF-8"),
        (
            "a\nb\n",
            "Procfile: line 1: expected 'type: command', got 'a'\n"
            "Procfile: line 2: expected 'type: command', got 'b'",
        ),
    ],
)  # fmt: skip
def test_refused(text: str | bytes, message: str) -> None:
    assert refusal({PROCFILE: text}) == message


def test_number_of_types_is_bounded() -> None:
    text = "".join(f"t{number}: x\n" for number in range(60))
    assert refusal({PROCFILE: text}) == "Procfile: has 60 process types, at most 50 are allowed"
