"""lockstep.toml: defaults, overrides from the environment, and what a person reads when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from runtime.errors import SettingsError
from runtime.settings import FILE_NAME, load_settings, render_settings


def written(home: Path, text: str = "") -> Path:
    (home / FILE_NAME).write_text(text)
    return home


def test_defaults_and_what_follows_from_home(tmp_path: Path) -> None:
    found = load_settings(written(tmp_path))
    assert (found.instance, found.domain, found.ssh_port, found.http_port) == ("lockstep", "localhost", 2222, 8080)
    assert found.database == tmp_path / "lockstep.db"
    assert found.router_run == tmp_path / "run/router"
    assert found.scheduler_socket == tmp_path / "run/scheduler.sock"


def test_file_is_read(tmp_path: Path) -> None:
    found = load_settings(written(tmp_path, 'domain = "example.org"\nssh_port = 22\nsettle = 0.5\n'))
    assert (found.domain, found.ssh_port, found.settle) == ("example.org", 22, 0.5)


def test_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_DOMAIN", "example.net")
    monkeypatch.setenv("LOCKSTEP_HTTP_PORT", "80")
    found = load_settings(written(tmp_path, 'domain = "example.org"\nhttp_port = 8081\n'))
    assert (found.domain, found.http_port) == ("example.net", 80)


def test_home_is_the_folder_that_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_HOME", "/elsewhere")
    monkeypatch.chdir(tmp_path)
    written(tmp_path)
    assert load_settings(Path()).home == tmp_path


def test_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"lockstep\.toml is not there: run 'lockstep init --home "):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ssh_port = 70000", "ssh_port: input should be less than or equal to 65535"),
        ('ssh_port = "many"', "ssh_port: input should be a valid integer"),
        ('instance = "Big"', "instance: 'Big' is not an app name"),
        (f'instance = "{"a" * 21}"', "instance: string should have at most 20 characters"),
        ('domain = "exam_ple.org"', "domain: 'exam_ple.org' is not a domain: use letters"),
        ("http_port = 81\nhttps_port = 81", "http_port and https_port are the same port"),
        ('domain = "a..b"', "is not a domain"),
        ("keep_releases = 1", "keep_releases: input should be greater than or equal to 2"),
        ("ssh_prot = 22", "there is no setting ssh_prot, did you mean ssh_port?"),
        ("push_limit = [1]", "push_limit: input should be a valid integer"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(written(tmp_path, text))
    assert str(caught.value).startswith(f"{tmp_path / FILE_NAME}: ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_wrong_value_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"ssh_port: .*; http_port: "):
        load_settings(written(tmp_path, "ssh_port = -1\nhttp_port = 0\n"))


def test_file_that_is_not_toml(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not valid TOML"):
        load_settings(written(tmp_path, "domain = example.org"))


def test_path_too_long_for_sockets(tmp_path: Path) -> None:
    home = tmp_path / ("x" * 100)
    home.mkdir()
    with pytest.raises(SettingsError, match="too long a path for unix sockets"):
        load_settings(written(home))


def test_settings_do_not_change(tmp_path: Path) -> None:
    found = load_settings(written(tmp_path))
    with pytest.raises(ValidationError):
        found.domain = "example.org"  # type: ignore[misc]


def test_rendered_file_is_read_back(tmp_path: Path) -> None:
    text = render_settings({"instance": "try1", "ssh_port": 2200, "domain": "a.b", "engine": None})
    found = load_settings(written(tmp_path, text))
    assert (found.instance, found.ssh_port, found.domain, found.engine) == ("try1", 2200, "a.b", None)


@pytest.mark.parametrize(("port", "url"), [(80, "http://shop.localhost/"), (8080, "http://shop.localhost:8080/")])
def test_urls_name_the_port_only_where_browsers_need_it(tmp_path: Path, port: int, url: str) -> None:
    found = load_settings(written(tmp_path, f"http_port = {port}"))
    assert found.url_of(found.host_of("shop")) == url
