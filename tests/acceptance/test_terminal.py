"""Programs in containers over plain ssh, scp and sftp: bytes, terminals, exit codes, and what a lost client leaves."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from scripts.driver import Done, Instance, Work, run, until
from tests.pty_client import PtyClient

pytestmark = pytest.mark.engine

APP = "desk"
MANIFEST = """\
runtime: dockerfile
dockerfile: Dockerfile
env:
  GREETING: from the manifest
persist: [uploads]
workers:
  - name: mailer
    start: exec sleep infinity
"""
DOCKERFILE = "FROM lockstep/run:latest\nCOPY --chown=app:app . /app\nCMD exec python3 -m http.server $PORT\n"
MIB = 1024 * 1024
BIG = os.urandom(10 * MIB)
SESSIONS = 200
SESSIONS_OF_ONE = 20  # on one connection, as the server has it


@pytest.fixture(scope="module", autouse=True)
def work(instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    """An app that is live as v1."""
    files = {".paas/app.yaml": MANIFEST, "Dockerfile": DOCKERFILE}
    work = Work.of_files(files, tmp_path_factory.mktemp("terminal") / "work")
    done = instance.push(work, APP)
    assert done.code == 0, done.err
    yield work
    instance.ssh("apps:destroy", APP, "--force")


def at(instance: Instance, user: str, *words: str, stdin: bytes = b"") -> Done:
    """ssh with an app as the user."""
    return run([*instance.ssh_words(), f"{user}@127.0.0.1", *words], stdin=stdin)


def on_terminal(instance: Instance, *words: str, user: str = "paas") -> PtyClient:
    return PtyClient([*instance.ssh_words(), "-t", f"{user}@127.0.0.1", *words])


def binary(instance: Instance, *words: str, stdin: bytes = b"") -> bytes:
    command = [*instance.ssh_words(), "paas@127.0.0.1", *words]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=300, check=True).stdout


def copying(instance: Instance, program: str, *words: str, stdin: bytes = b"") -> Done:
    """scp or sftp."""
    _, *options = instance.ssh_words()
    options = ["-P" if option == "-p" else option for option in options]
    return run([program, *options, *words], stdin=stdin)


def containers(instance: Instance) -> list[str]:
    """Those of one-off runs and of sftp, in any state."""
    words = ["docker", "ps", "-a", "--format", "{{.Names}}", "--filter", "label=lockstep.kind=run"]
    done = run([*words, "--filter", f"label=lockstep.instance={instance.name}"])
    assert done.code == 0, done.err
    return done.out.split()


def is_alive(marker: str) -> bool:
    """Whether a program with this word on its command line runs in a container; ssh's own has it too."""
    found = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
    for process in found:
        try:
            line = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if marker.encode() in line and line[0] == b"sleep":
            return True
    return False


# ---- run -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("true",), 0),
        (("false",), 1),
        (("/etc",), 126),
        (("no-such-program",), 127),
        (("--", "'kill -INT $$'"), 130),
        (("--", "'kill -TERM $$'"), 143),
        (("--", "'kill -KILL $$'"), 137),
        (("--", "'exit 42'"), 42),
    ],
)
def test_exit_code_is_the_commands(instance: Instance, words: tuple[str, ...], code: int) -> None:
    assert instance.ssh("run", APP, *words).code == code
    assert instance.ssh("enter", APP, "web", *words).code == code


def test_run_has_the_live_release_around_it(instance: Instance) -> None:
    done = instance.ssh("run", "-e", "EXTRA=more", APP, "env")
    found = dict(line.split("=", 1) for line in done.out.splitlines())
    assert found["GREETING"] == "from the manifest"
    assert found["LOCKSTEP_APP"] == APP
    assert found["LOCKSTEP_RELEASE"] == "v1"
    assert found["LOCKSTEP_PROCESS"].startswith("run.")
    assert (found["PORT"], found["EXTRA"]) == ("8000", "more")
    assert "PORT=" not in instance.ssh("run", APP, "-p", "mailer", "env").out
    assert instance.ssh("run", APP, "id", "-un").out == "app\n"
    assert instance.ssh("run", APP, "-p", "nobody", "env").code == 1
    assert instance.ssh("run", APP, "-e", "LOCKSTEP_APP=x", "env").code == 2


def test_words_and_lines(instance: Instance) -> None:
    assert instance.ssh("run", APP, "printf", "%s.", "a", "'b;  c'", "'$HOME'").out == "a.b;  c.$HOME."
    assert instance.ssh("run", APP, "\"echo 'a;  b'; echo $HOME\"").out == "a;  b\n/app\n"
    assert instance.ssh("run", APP, "--", "'echo one | tr o 0; echo two'").out == "0ne\ntwo\n"
    assert instance.ssh("run", APP, "ls", "--help").out.startswith("Usage: ls")
    assert "limits and port" in instance.ssh("run", "--help").out
    assert instance.ssh("run", APP).code == 2


def test_streams_are_apart_and_binary_both_ways(instance: Instance) -> None:
    done = instance.ssh("run", APP, "--", "'echo out; echo err >&2'")
    assert (done.out, done.err) == ("out\n", "err\n")
    digest = hashlib.sha256(BIG).hexdigest()
    assert binary(instance, "run", APP, "sha256sum", stdin=BIG).decode() == f"{digest}  -\n"
    assert hashlib.sha256(binary(instance, "run", APP, "cat", stdin=BIG)).hexdigest() == digest
    assert hashlib.sha256(binary(instance, "enter", APP, "web", "cat", stdin=BIG)).hexdigest() == digest


def test_nothing_is_left_when_a_command_has_ended(instance: Instance) -> None:
    assert instance.ssh("run", APP, "true").code == 0
    assert containers(instance) == []
    newest = instance.json("run:list", APP)[0]
    assert (newest["state"], newest["exit"], newest["command"], newest["detached"]) == ("succeeded", 0, "true", "no")


def test_a_client_that_goes_away_takes_its_command_along(instance: Instance) -> None:
    programs = {
        "71.1": [*instance.ssh_words(), "paas@127.0.0.1", "run", APP, "--", "'trap : TERM; sleep 71.1; sleep 71.1'"],
        "71.2": [*instance.ssh_words(), "paas@127.0.0.1", "enter", APP, "mailer", "sleep", "71.2"],
        "71.3": [*instance.ssh_words(), f"{APP}@127.0.0.1", "sleep 71.3 & sleep 71.3"],
        "71.4": [*instance.ssh_words(), "-tt", f"{APP}@127.0.0.1", "sleep 71.4"],
    }
    clients = [
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for words in programs.values()
    ]
    until(lambda: all(map(is_alive, programs)), "the start of the programs", 30)
    for client in clients:
        client.kill()
        client.communicate()
    until(lambda: not any(map(is_alive, programs)), "the end of the programs", 30)
    until(lambda: containers(instance) == [], "the end of the container", 30)
    until(lambda: instance.json("run:list", APP)[0]["state"] == "cancelled", "the closing of the row", 10)
    assert instance.json("run:list", APP)[0]["reason"] == "its client went away"
    assert {row["state"] for row in instance.json("ps", APP)} == {"running"}


@pytest.mark.parametrize("words", [("run", APP, "yes"), ("enter", APP, "mailer", "yes")])
def test_a_reader_that_goes_away_takes_the_command_along(instance: Instance, words: tuple[str, ...]) -> None:
    assert instance.ssh("run", APP, "true").code == 0
    program = shlex.join([*instance.ssh_words(), "paas@127.0.0.1", "--", *words])
    done = run(["bash", "-c", f"{program} | head -n 1; exit ${{PIPESTATUS[0]}}"])
    assert (done.code, done.out.count("\n"), done.err) == (141, 1, "")
    until(lambda: not containers(instance), "the end of what the reader left", 30)


async def test_a_client_that_goes_away_while_its_run_begins_leaves_nothing(instance: Instance) -> None:
    for tenth in range(8):
        connection = await asyncssh.connect(
            "127.0.0.1",
            instance.ssh_port,
            username="paas",
            client_keys=[str(instance.key)],
            known_hosts=None,
            config=[],
        )
        await connection.create_process(f"run {APP} sleep 74")
        await asyncio.sleep(tenth / 10)  # the start takes about half a second
        connection.abort()
        await connection.wait_closed()
    words = ("run:list", APP, "-n", "100")

    def states() -> set[str]:
        return {row["state"] for row in instance.json(*words) if row["command"] == "sleep 74"}

    until(lambda: states() == {"cancelled"}, "the end of every run", 30)
    until(lambda: containers(instance) == [], "the end of the containers", 30)


def test_a_slow_reader_holds_up_nobody(instance: Instance) -> None:
    def server_memory() -> int:
        status = Path(f"/proc/{instance.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1024

    before = server_memory()
    words = [*instance.ssh_words(), "paas@127.0.0.1", "run", APP, "head", "-c", str(200 * MIB), "/dev/zero"]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as slow:
        assert slow.stdout is not None
        assert len(slow.stdout.read(MIB)) == MIB
        assert hashlib.sha256(binary(instance, "run", APP, "cat", stdin=BIG)).digest() == hashlib.sha256(BIG).digest()
        assert server_memory() - before < 100
        left = 0
        while chunk := slow.stdout.read(MIB):
            left += len(chunk)
        assert left == 199 * MIB
        assert slow.wait() == 0


# ---- terminals -------------------------------------------------------------------------------------------------


def test_window_size_is_there_at_the_start(instance: Instance) -> None:
    with on_terminal(instance, "run", APP, "stty", "size") as client:
        assert client.wait() == (0, "31 97\r\n")
    with on_terminal(instance, "stty size; echo $TERM; tty", user=APP) as client:
        code, text = client.wait()
        assert code == 0
        assert text.startswith(f"31 97\r\n{os.environ.get('TERM') or 'dumb'}\r\n/dev/pts/")


@pytest.mark.parametrize("words", [("run", APP, "bash"), ("enter", APP)])
def test_terminal_is_a_real_one(instance: Instance, words: tuple[str, ...]) -> None:
    with on_terminal(instance, *words) as client:
        client.expect("$ ")
        client.type("stty size\r")
        client.expect("31 97\r\n")
        client.resize(44, 155)
        client.type("trap 'stty size' WINCH; until [ $COLUMNS = 155 ]; do sleep .1; done; stty size\r")
        client.expect("44 155\r\n")
        client.type("echo ready $((1 + 1)); cat\r")
        client.expect("ready 2\r\n")
        client.type("hello\r\x04")
        client.expect("hello\r\nhello\r\n")
        client.type("sh -c 'echo ready $((1 + 2)); exec sleep 300'\r")
        client.expect("ready 3\r\n")
        client.type("\x03")
        client.expect("^C")
        client.expect("$ ")  # what is typed before may be lost: a shell that comes back drops it
        client.type("echo code $?\r")
        client.expect("code 130\r\n")
        client.expect("$ ")
        client.type("\x10\x10")  # Ctrl-P goes back in the shell's history, and does not detach
        client.expect("sleep 300")
        client.type("\x15exit 5\r")
        assert client.wait()[0] == 5


def test_ctrl_c_ends_a_command_and_not_the_session(instance: Instance) -> None:
    with on_terminal(instance, "run", APP, "--", "'echo ready; sleep 300'") as client:
        client.expect("ready\r\n")
        client.type("\x03")
        assert client.wait()[0] == 130
    line = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep .1; done"
    with on_terminal(instance, line, user=APP) as client:
        client.expect("ready\r\n")
        client.type("\x03")
        code, text = client.wait()
        assert code == 9
        assert "caught\r\n" in text


def test_end_of_a_file_is_the_end_of_a_terminals_input(instance: Instance) -> None:
    words = [*instance.ssh_words(), "-tt", "paas@127.0.0.1", "run", APP, "cat"]
    done = run(words, stdin=b"some text\n")
    assert done.code == 0
    assert "some text\r\n" in done.out


# ---- by user name ----------------------------------------------------------------------------------------------


def test_app_as_user_name_is_its_container(instance: Instance) -> None:
    assert at(instance, APP, "--", "echo $LOCKSTEP_PROCESS $(pwd) | cat; exit 3").out == "web /app\n"
    assert at(instance, APP, "exit 3").code == 3
    assert at(instance, f"{APP}--mailer", "echo $LOCKSTEP_PROCESS").out == "mailer\n"
    assert at(instance, f"{APP}--mailer.1", "echo $LOCKSTEP_PROCESS").out == "mailer\n"
    assert at(instance, APP, stdin=b"echo from a script\nexit 4\n").out == "from a script\n"
    assert instance.ssh("enter", APP, "--worker", "mailer", "printenv", "LOCKSTEP_PROCESS").out == "mailer\n"
    assert instance.ssh("enter", APP, "mailer.1", "--", "'echo $LOCKSTEP_PROCESS | cat'").out == "mailer\n"


def test_names_that_do_not_fit_are_said(instance: Instance) -> None:
    unknown = at(instance, f"{APP}--postman", "true")
    assert (unknown.code, unknown.err) == (1, f"lockstep: {APP} has no process 'postman': it has web, mailer\n")
    assert "mailer.7 of desk does not run now" in at(instance, f"{APP}--mailer.7", "true").err
    assert instance.ssh("enter", APP, "ls").code == 1
    assert at(instance, "somebody", "version").out.startswith("lockstep ")
    assert at(instance, f"{APP}x", "version").out.startswith("lockstep ")


def test_viewer_may_not(instance: Instance, tmp_path: Path) -> None:
    key = tmp_path / "viewer"
    instance.make_key(key)
    public = key.with_suffix(".pub").read_bytes()
    assert instance.ssh("keys:add", "vera", "--role", "viewer", stdin=public).code == 0
    for user, words in (("paas", ("run", APP, "id")), ("paas", ("enter", APP)), (APP, ("id",))):
        done = run([*instance.ssh_words(key), f"{user}@127.0.0.1", *words])
        assert done.code == 1
        assert "this takes a developer" in done.err
    assert instance.ssh("keys:remove", "vera").code == 0


# ---- files -----------------------------------------------------------------------------------------------------


def test_files_go_into_the_durable_folders(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(BIG)
    there = f"{APP}@127.0.0.1:uploads"
    assert copying(instance, "scp", str(tmp_path / "big"), f"{there}/").code == 0
    assert instance.ssh("enter", APP, "web", "stat", "-c", "%U:%s", "uploads/big").out == f"app:{len(BIG)}\n"
    assert copying(instance, "scp", f"{there}/big", str(tmp_path / "back")).code == 0
    assert (tmp_path / "back").read_bytes() == BIG
    orders = f"pwd\nls\nput {tmp_path / 'big'} uploads/again\nrm uploads/big\nls uploads\n".encode()
    done = copying(instance, "sftp", "-b", "-", f"{APP}@127.0.0.1", stdin=orders)
    assert done.code == 0, done.err
    assert "Remote working directory: /app" in done.out
    assert done.out.splitlines()[-1].split() == ["uploads/again"]
    until(lambda: containers(instance) == [], "the end of the containers", 30)


@pytest.mark.parametrize("place", [".", "/tmp", "/dev/shm", "/etc/passwd", "../data", "uploads/../../tmp"])
def test_files_go_nowhere_else(instance: Instance, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("text")
    done = copying(instance, "scp", str(tmp_path / "file"), f"{APP}@127.0.0.1:{place}")
    assert done.code == 1, done.all


def test_app_without_folders_and_the_command_door_have_no_sftp(instance: Instance, app: str, tmp_path: Path) -> None:
    manifest = MANIFEST.replace("persist: [uploads]\n", "")
    work = Work.of_files({".paas/app.yaml": manifest, "Dockerfile": DOCKERFILE}, tmp_path / "work")
    assert instance.push(work, app).code == 0
    done = copying(instance, "sftp", "-b", "-", f"{app}@127.0.0.1")
    assert done.code != 0
    assert "has no folder that outlives a release" in done.err
    assert "is not offered here" in copying(instance, "sftp", "-b", "-", "paas@127.0.0.1").err
    assert instance.ssh("apps:destroy", app, "--force").code == 0


# ---- detached runs ---------------------------------------------------------------------------------------------


def test_detached_run_is_followed_and_its_log_kept(instance: Instance) -> None:
    started = instance.ssh("run:detached", APP, "--", "'echo begun; echo oops >&2; sleep 1; echo ended; exit 6'")
    assert started.code == 0, started.err
    name = started.out.strip()
    followed = instance.ssh("run:logs", APP, name, "-f")
    assert (followed.code, followed.out) == (6, "begun\nended\n")
    assert followed.err.startswith("oops\n")
    later = instance.ssh("run:logs", APP, name)
    assert (later.code, later.out) == (0, "begun\nended\n")
    row = instance.json("run:list", APP)[0]
    assert (row["run"], row["state"], row["exit"], row["detached"]) == (name, "failed", 6, "yes")
    assert containers(instance) == []


def test_detached_run_is_stopped_by_hand_and_by_time(instance: Instance) -> None:
    name = instance.ssh("run:detached", APP, "sleep", "300").out.strip()
    stopped = instance.ssh("run:stop", APP, name)
    assert stopped.out == f"{name}: cancelled, exit code 143: stopped by admin\n"
    assert "has ended already" in instance.ssh("run:stop", APP, name).err
    late = instance.ssh("run:detached", "--timeout", "1s", APP, "sleep", "300").out.strip()
    assert instance.ssh("run:logs", APP, late, "-f").code == 124
    assert instance.json("run:list", APP)[0]["state"] == "timed out"
    assert instance.ssh("run:detached", "--timeout", "never", APP, "true").code == 2
    assert instance.ssh("run:logs", APP, "run.999").code == 1
    assert containers(instance) == []


def test_runs_outlive_a_deploy_and_detached_ones_a_killed_server(instance: Instance) -> None:
    line = "'until [ -e uploads/go ]; do sleep .1; done; rm uploads/go; echo $LOCKSTEP_RELEASE; exit 7'"
    name = instance.ssh("run:detached", APP, "--", line).out.strip()
    words = [*instance.ssh_words(), "paas@127.0.0.1", "run", APP, "sleep", "72.1"]
    attached = subprocess.Popen(words, stdin=subprocess.PIPE)
    visitor = subprocess.Popen([*instance.ssh_words(), "-tt", f"{APP}@127.0.0.1", "sleep 72.2"], stdin=subprocess.PIPE)
    until(lambda: is_alive("72.1") and is_alive("72.2"), "the start of the programs", 30)
    instance.stop(signal.SIGKILL)
    for client in (attached, visitor):
        client.communicate()
    assert is_alive("72.2")
    instance.start()
    assert not is_alive("72.2")
    until(lambda: not is_alive("72.1"), "the end of what was attached", 30)
    until(lambda: len(containers(instance)) == 1, "the end of its container", 30)
    states = {row["run"]: row["state"] for row in instance.json("run:list", APP)[:2]}
    assert set(states.values()) == {"running", "cancelled"}
    assert states[name] == "running"
    assert instance.ssh("config:set", APP, "A=b").code == 0
    assert instance.json("run:list", APP)[1]["state"] == "running"
    assert instance.ssh("enter", APP, "web", "touch", "uploads/go").code == 0
    followed = instance.ssh("run:logs", APP, name, "-f")
    assert followed.code == 7
    assert followed.out == f"{instance.json('run:list', APP)[1]['release']}\n"
    assert containers(instance) == []


def test_ctrl_c_past_the_commit_says_that_the_deploy_goes_on(instance: Instance) -> None:
    with on_terminal(instance, "config:set", APP, "LATER=yes") as person:
        person.expect("-----> Starting workers: mailer")
        person.type("\x03")
        code, told = person.wait()
    [deploy, *_] = instance.json("deploys", APP)
    assert f"deploy {deploy['deploy']} is past its commit point and goes on" in told
    assert (code, deploy["state"]) == (130, "live")
    assert instance.ssh("config:get", APP, "LATER").out == "yes\n"


def test_destroying_an_app_ends_its_runs(instance: Instance, app: str, tmp_path: Path) -> None:
    work = Work.of_files({".paas/app.yaml": MANIFEST, "Dockerfile": DOCKERFILE}, tmp_path / "work")
    assert instance.push(work, app).code == 0
    assert instance.ssh("run:detached", app, "sleep", "73.1").code == 0
    words = [*instance.ssh_words(), "paas@127.0.0.1", "run", app, "sleep", "73.2"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as attached:
        until(lambda: is_alive("73.1") and is_alive("73.2"), "the start of the programs", 30)
        assert instance.ssh("apps:destroy", app, "--force").code == 0
        assert attached.wait(30) != 0
    assert containers(instance) == []


# ---- many at once ----------------------------------------------------------------------------------------------


async def test_two_hundred_sessions_at_once_and_none_fails(instance: Instance) -> None:
    async def connect() -> asyncssh.SSHClientConnection:
        return await asyncssh.connect(
            "127.0.0.1",
            instance.ssh_port,
            username="paas",
            client_keys=[str(instance.key)],
            known_hosts=None,
            config=[],
        )

    connections = await asyncio.gather(*(connect() for _ in range(SESSIONS // SESSIONS_OF_ONE)))
    try:
        commands = ["apps"] * (SESSIONS_OF_ONE - 1) + [f"enter {APP} web echo {APP}"]
        done = await asyncio.gather(*(one.run(command) for one in connections for command in commands))
    finally:
        for one in connections:
            one.close()
        await asyncio.gather(*(one.wait_closed() for one in connections))
    assert len(done) == SESSIONS
    assert {one.exit_status for one in done} == {0}
    assert all(APP in str(one.stdout) for one in done)
