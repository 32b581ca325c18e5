"""Commands of an app whose image has no shell."""

from __future__ import annotations

import pytest

from builder.shells import has_lines, without_shell
from runtime.errors import BuildError
from runtime.model import CronJob, Hook, Process, ProcessKind, Shell
from tests.unit.builder.plans import spec, web

NOTHING = spec(process=web(None))


def test_every_command_is_run_without_a_shell() -> None:
    job = CronJob(name="report", schedule="0 6 * * *", command="/report 'a b'", stop_command="/stop")
    asked = NOTHING.model_copy(update={"crons": (job,), "hooks": (Hook(name="release", command="/migrate"),)})
    made = without_shell(asked)
    shells = [made.processes[0].shell, made.crons[0].shell, made.hooks[0].shell]
    assert shells == [Shell.EXEC] * 3
    assert made.crons[0].command == job.command


@pytest.mark.parametrize("line", ["/serve --port 8000", "/serve 'a;b $C'", '/serve "a|b"', "/serve --a=b", "/a-b/c.d"])
def test_plain_words_need_no_shell(line: str) -> None:
    assert without_shell(spec(process=web(line))).processes[0].command == line


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("/serve --port $PORT", "$"),
        ('/serve "$PORT"', "$"),
        ("/a; /b", ";"),
        ("/a && /b", "&"),
        ("/a > /tmp/b", ">"),
        ("/a *.txt", "*"),
        ("A=b /serve", "A="),
        ("exec /serve", "exec"),
        ("/a\n/b", "a new line"),
        ("/a 'b", "a quote that is not closed"),
    ],
)
def test_what_is_for_a_shell_is_told(line: str, what: str) -> None:
    with pytest.raises(BuildError) as caught:
        without_shell(spec(process=web(line)))
    assert str(caught.value) == (
        f"web can not be run: '{what}' in its command needs a shell, and the image has no /bin/sh; "
        "write the command without it, or put a shell into the image"
    )


def test_commands_in_front_of_a_process_need_a_shell() -> None:
    process = web(None).model_copy(update={"before": ("/migrate",)})
    with pytest.raises(BuildError, match="the commands in front of web can not be run: the image has no /bin/sh"):
        without_shell(spec(process=process))


@pytest.mark.parametrize(
    ("process", "expected"),
    [
        (web(None), False),
        (web("/serve"), True),
        (Process(name="a", kind=ProcessKind.WORKER, command="/work"), True),
        (web(None).model_copy(update={"before": ("/migrate",)}), True),
    ],
)
def test_image_is_only_looked_into_for_command_lines(process: Process, expected: bool) -> None:
    assert has_lines(spec(process=process)) is expected
