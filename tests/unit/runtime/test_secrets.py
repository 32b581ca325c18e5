"""Values at rest, and a text that must not be shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import StoreError
from runtime.model import Secret
from runtime.secrets import Vault, make_key, make_password


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    path = tmp_path_factory.mktemp("vault") / "secret.key"
    make_key(path)
    return Vault(path)


def test_texts_come_back(vault: Vault) -> None:
    @given(st.text(st.characters(codec="utf-8")))
    def roundtrip(text: str) -> None:
        assert vault.open(vault.seal(text)) == text

    roundtrip()


def test_maps_come_back(vault: Vault) -> None:
    values = {"B": "2\n", "A": "", "Ü": "\0"}
    assert vault.open_map(vault.seal_map(values)) == values


def test_sealed_value_shows_nothing_and_differs_each_time(vault: Vault) -> None:
    one, other = vault.seal("hunter2"), vault.seal("hunter2")
    assert b"hunter2" not in one
    assert one != other


def test_another_key_does_not_fit(vault: Vault, tmp_path: Path) -> None:
    path = tmp_path / "other.key"
    make_key(path)
    with pytest.raises(StoreError, match=r"a stored value does not fit .*other\.key: restore the key") as caught:
        Vault(path).open(vault.seal("hunter2"))
    assert caught.value.__cause__ is None


def test_value_that_was_changed_is_noticed(vault: Vault) -> None:
    sealed = bytearray(vault.seal("hunter2"))
    sealed[-5] ^= 1
    with pytest.raises(StoreError, match="does not fit"):
        vault.open(bytes(sealed))


@pytest.mark.parametrize("content", [None, b"", b"not a key"])
def test_key_that_can_not_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "secret.key"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StoreError, match=r"secret\.key can not be read as a key: restore it from a backup"):
        Vault(path)


def test_key_is_the_owners_alone_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    make_key(path)
    before = path.read_bytes()
    make_key(path)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o600


def test_derived_passwords_follow_from_key_and_purpose(vault: Vault, tmp_path: Path) -> None:
    path = tmp_path / "other.key"
    make_key(path)
    assert vault.derive("redis") == vault.derive("redis")
    assert vault.derive("redis") != vault.derive("postgres")
    assert vault.derive("redis") != Vault(path).derive("redis")


def test_passwords_are_long_and_different() -> None:
    made = {make_password() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 40


def test_secret_shows_stars() -> None:
    secret = Secret("hunter2")
    assert f"{secret} {secret!r} {secret!s} %s" % secret == "*** *** *** ***"
    assert "hunter2" not in repr({"password": secret, "list": [secret]})
    assert secret.reveal() == "hunter2"


def test_secrets_compare_by_what_they_hold() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"
    assert not hasattr(Secret("a"), "__dict__")
