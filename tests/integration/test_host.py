"""`lockstep init` and `lockstep doctor` as the operator of a host types them, wrong and right, without an engine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from runtime.settings import FILE_NAME, load_settings
from scripts.driver import LOCKSTEP, Done, run

NOWHERE = {"DOCKER_HOST": "tcp://127.0.0.1:1"}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub")


def init(home: str | Path, key: Path, *words: str) -> Done:
    return run([str(LOCKSTEP), "init", "--home", str(home), "--admin-key", str(key), *words])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--domain", "-bad..x"), "domain: '-bad..x' is not a domain: use letters, digits, hyphens and dots"),
        (("--ssh-port", "2291", "--http-port", "2291"), "http_port and ssh_port are the same port: give each its own"),
        (("--https-port", "8080"), "http_port and https_port are the same port: give each its own"),
        (("--instance", "Shop"), "'Shop' can not name an instance"),
    ],
)
def test_wrong_settings_leave_nothing_behind(tmp_path: Path, key: Path, words: tuple[str, ...], sentence: str) -> None:
    home = tmp_path / "home"
    done = init(home, key, *words)
    assert (done.code, sentence in done.err) == (2, True), done.err
    assert not home.exists()
    assert init(home, key, "--domain", "Apps.Example.org").code == 0
    assert load_settings(home).domain == "apps.example.org"
    assert init(home, key, "--domain", "apps.example.ORG").code == 0
    assert init(home, key, "--domain", "other.example.org").code == 2


def test_home_that_can_not_be_one(tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for home, sentence in ((key, "can not be the instance's folder"), ("", "it is empty: name the folder")):
        done = init(home, key)
        assert (done.code, sentence in done.err, "Traceback" in done.err) == (2, True, False), done.err
    assert not (tmp_path / FILE_NAME).exists()


def test_doctor_asks_every_part_also_without_an_engine(tmp_path: Path, key: Path) -> None:
    home = tmp_path / "home"
    assert init(home, key, "--ssh-port", "2").code == 0
    done = run([str(LOCKSTEP), "doctor", "--home", str(home)], env=NOWHERE)
    lines = [line.split() for line in done.out.splitlines()]
    found = {words[1]: words[0] for words in lines}
    assert done.code == 1
    assert (found["engine"], found["store"], found["keys"]) == ("FAIL", "ok", "ok")
    assert list(found) == ["engine", "store", "router", "redis", "scheduler", "server", "disk", "clock", "keys"]
    assert "cannot reach the docker engine at tcp://127.0.0.1:1" in done.out
    done = run([str(LOCKSTEP), "doctor", "--home", str(home)], env={"DOCKER_HOST": "foo"})
    assert done.err == "lockstep: the engine 'foo' is not understood: give unix://PATH or tcp://HOST:PORT\n"
