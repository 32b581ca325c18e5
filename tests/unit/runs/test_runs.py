"""One-off runs without an engine: what words mean, what is asked of the engine, rows, how an end is judged."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from runtime.engine import hostside
from runtime.engine.specs import Place
from runtime.errors import UsageError
from runtime.model import MIB, Image, Limits, RunState
from runtime.runs import files
from runtime.runs.describe import container_of, exec_of
from runtime.runs.keeper import LEFT, TIME_LIMIT, judge
from runtime.runs.values import Command, OneOff, Order, Tty
from runtime.runs.words import LONGEST_SHOWN, command_of, line_of
from tests.unit.runtime.samples import IMAGE, NOW, new_store, release, web, worker

PLACE = Place("test", "test-shop", (("REDIS_URL", "redis://x"),))
TTY = Tty("xterm", 31, 97)


def one_off(number: int = 7, **changes: object) -> OneOff:
    values: dict[str, object] = {
        "app": "shop",
        "number": number,
        "process": "web",
        "command": "ls",
        "release": 1,
        "detached": False,
        "state": RunState.DUE,
        "who": "anna",
        "created_at": NOW,
    }
    return OneOff.model_validate({**values, **changes})


# ---- words -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "line", "program"),
    [
        (("ls",), None, ("ls",)),
        (("python", "-c", "print(1)"), None, ("python", "-c", "print(1)")),
        (("sh", "-c", "a; b"), None, ("sh", "-c", "a; b")),
        (("a; b",), "a; b", ()),
        (("ls>x",), "ls>x", ()),
        (("echo $HOME",), "echo $HOME", ()),
        (("--", "a;", "b"), "a; b", ()),
        (("--", "ls"), "ls", ()),
        (("ls", "--", "x"), None, ("ls", "--", "x")),
        (("bin/run-it.sh",), None, ("bin/run-it.sh",)),
    ],
)
def test_words_are_a_program_or_a_line(words: tuple[str, ...], line: str | None, program: tuple[str, ...]) -> None:
    command = command_of(words)
    assert (command.line, command.words) == (line, program)


@pytest.mark.parametrize("words", [(), ("",), ("--",), ("--", " "), (" ",), ("ls", "a\0b"), ("a\0b",)])
def test_words_that_are_no_command(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        command_of(words)


def test_what_is_shown_can_not_touch_a_terminal_and_is_short() -> None:
    assert command_of(("echo", "a b", "\x1b]0;title\x07")).shown == "echo 'a b' ''"
    assert len(line_of("x" * 2 * LONGEST_SHOWN).shown) == LONGEST_SHOWN


# ---- what the engine is asked for ------------------------------------------------------------------------------


def test_attached_run_is_as_web_with_streams_and_without_a_log() -> None:
    shop = release(web(limits=Limits(memory=64 * MIB)), worker(), config={"KEY": "value"}, persist=("uploads",))
    order = Order("shop", Command(words=("ls", "-l")), "anna", env=(("KEY", "other"),))
    spec = container_of(order, one_off(), shop, PLACE, has_shell=True)
    assert spec["Image"] == IMAGE.id
    assert (spec["Entrypoint"], spec["Cmd"]) == (["ls", "-l"], [])
    assert {"KEY=other", "LOCKSTEP_PROCESS=run.7", "PORT=5000", "REDIS_URL=redis://x"} <= set(spec["Env"])
    assert spec["Labels"] == {
        "lockstep.instance": "test",
        "lockstep.kind": "run",
        "lockstep.app": "shop",
        "lockstep.release": "1",
        "lockstep.process": "run.7",
        "lockstep.run": "7",
    }
    assert (spec["OpenStdin"], spec["StdinOnce"], spec["Tty"]) == (True, True, False)
    host = spec["HostConfig"]
    assert (host["LogConfig"]["Type"], host["Memory"], host["NetworkMode"]) == ("none", 64 * MIB, "test-shop")
    assert (host["CapDrop"], host["SecurityOpt"], host["Init"]) == (["ALL"], ["no-new-privileges"], True)
    assert host["Mounts"][0]["Target"] == "/app/uploads"


def test_run_with_the_limits_of_a_worker() -> None:
    shop = release(web(), worker(limits=Limits(memory=32 * MIB)))
    order = Order("shop", Command(words=("ls",)), "anna", "mailer", timeout=60.0)
    spec = container_of(order, one_off(detached=True), shop, PLACE, has_shell=True)
    assert spec["HostConfig"]["Memory"] == 32 * MIB
    assert not [item for item in spec["Env"] if item.startswith("PORT=")]
    assert spec["HostConfig"]["LogConfig"]["Type"] == "local"
    assert "OpenStdin" not in spec


def test_shell_sets_the_size_of_a_terminal_where_there_is_one() -> None:
    shop, words = release(web()), Command(words=("vi", "x"))
    first = "stty rows 31 cols 97 2>/dev/null; "
    spec = container_of(Order("shop", words, "anna", tty=TTY), one_off(), shop, PLACE, has_shell=True)
    assert spec["Entrypoint"] == ["/bin/sh", "-c", f'{first}exec "$0" "$@"', "vi", "x"]
    assert "TERM=xterm" in spec["Env"]
    assert spec["HostConfig"]["ConsoleSize"] == [31, 97]
    bare = container_of(Order("shop", words, "anna", tty=TTY), one_off(), shop, PLACE, has_shell=False)
    assert bare["Entrypoint"] == ["vi", "x"]
    line = Order("shop", Command(line="a; b"), "anna", tty=TTY)
    assert container_of(line, one_off(), shop, PLACE, has_shell=True)["Entrypoint"][-1] == f"{first}a; b"


def test_program_beside_a_process() -> None:
    assert exec_of(Command(words=("ls",)), None, "anna", has_shell=True)["Cmd"] == [
        *("/bin/sh", "-c", 'exec "$0" "$@"', "ls"),
    ]
    assert exec_of(Command(words=("ls",)), None, "anna", has_shell=False)["Cmd"] == ["ls"]
    spec = exec_of(None, TTY, "anna", has_shell=True)
    assert spec["Env"] == ["LOCKSTEP_SESSION=anna", "TERM=xterm"]
    assert spec["Cmd"][-1].endswith("command -v bash >/dev/null && exec bash; exec sh")
    assert not spec["DetachKeys"].startswith("ctrl-p")


def test_sftp_can_write_to_the_folders_alone() -> None:
    shop = release(web(), persist=("uploads", "data/cache"), image=Image(id=IMAGE.id, languages=("dockerfile",)))
    spec = files.container_of(shop, "test", "platform:1", "1000:1000", Path("/home/passwd"))
    host = spec["HostConfig"]
    assert (spec["Image"], spec["User"]) == ("platform:1", "1000:1000")
    assert (host["NetworkMode"], host["IpcMode"], host["ReadonlyRootfs"]) == ("none", "none", True)
    targets = {mount["Target"]: mount.get("ReadOnly", False) for mount in host["Mounts"]}
    assert targets == {"/app/uploads": False, "/app/data/cache": False, "/etc/passwd": True}
    assert "Env" not in spec


# ---- rows ------------------------------------------------------------------------------------------------------


def test_row_goes_from_due_to_its_end_once(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with store.write() as tx:
        tx.apps.create("shop", NOW)
        assert tx.runs.next_number("shop") == 1
        run = one_off(1, timeout=60.0, detached=True)
        tx.runs.add(run)
        assert tx.runs.find("shop", 1) == run
        tx.runs.started(run, NOW)
        tx.runs.ask_stop(run, "first")
        tx.runs.ask_stop(run, "second")
        assert [(open_.state, open_.stop) for open_ in tx.runs.open()] == [(RunState.RUNNING, "first")]
        tx.runs.ended(run, RunState.CANCELLED, NOW, 143, "first")
        tx.runs.ended(run, RunState.FAILED, NOW, 1, None)
        ended = tx.runs.find("shop", 1)
        assert ended is not None
        assert (ended.state, ended.exit_code, ended.id) == (RunState.CANCELLED, 143, "run.1")
        assert tx.runs.open("shop") == []
        assert tx.runs.next_number("shop") == 2
    store.close()


def test_old_rows_go_and_open_ones_stay(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with store.write() as tx:
        tx.apps.create("shop", NOW)
        for number in range(1, 6):
            tx.runs.add(one_off(number, state=RunState.RUNNING if number == 1 else RunState.SUCCEEDED))
        assert tx.runs.prune("shop", 2) == [3, 2]
        assert [run.number for run in tx.runs.of("shop")] == [5, 4, 1]
        assert tx.runs.prune("shop", 2) == []
        tx.apps.remove("shop")
        assert tx.runs.of("shop") == []
    store.close()


@pytest.mark.parametrize(
    ("code", "stop", "why", "memory", "state", "reason"),
    [
        (0, None, None, False, RunState.SUCCEEDED, None),
        (0, None, "its client went away", False, RunState.SUCCEEDED, None),
        (3, None, None, False, RunState.FAILED, None),
        (137, None, None, True, RunState.FAILED, "out of memory"),
        (143, "stopped by anna", None, False, RunState.CANCELLED, "stopped by anna"),
        (143, TIME_LIMIT, None, False, RunState.TIMED_OUT, TIME_LIMIT),
        (None, None, "no space left", False, RunState.FAILED, "no space left"),
        (None, None, LEFT, False, RunState.CANCELLED, LEFT),
    ],
)
def test_end_is_judged(
    code: int | None, stop: str | None, why: str | None, memory: bool, state: RunState, reason: str | None
) -> None:
    assert judge(one_off(stop=stop), code, why, out_of_memory=memory) == (state, reason)


# ---- the host's side -------------------------------------------------------------------------------------------


def test_process_that_is_in_no_container_is_not_touched() -> None:
    nobody = "0" * 64
    assert hostside.session_of(os.getsid(0), nobody) == []
    assert hostside.tell(os.getpid(), nobody, signal.SIGKILL) is False  # or this test would end here
