"""Who may do what, and whose keys come in."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from gitreceive.access import require, sees
from gitreceive.keyring import USED_STEP, StoreKeyRing, add_key, parse_key, remove_key
from runtime.errors import LockstepError, NoSuchApp, Refused, UsageError
from runtime.model import Key, Role
from tests.unit.gitreceive.desk import Office
from tests.unit.runtime.samples import ADMIN, DEVELOPER, NOW, VIEWER, key

LIMITED = key("lena", role=Role.DEVELOPER, apps=("shop",))
LIMITED_ADMIN = key("lara", role=Role.ADMIN, apps=("shop",))


def new_key(kind: str = "ssh-ed25519") -> asyncssh.SSHKey:
    return asyncssh.generate_private_key(kind)


def public_text(private: asyncssh.SSHKey, comment: str = "") -> str:
    return f"{private.export_public_key('openssh').decode().strip()} {comment}\n"


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("operator", [ADMIN, DEVELOPER, VIEWER])
def test_higher_roles_may_what_lower_ones_may(operator: Key, role: Role) -> None:
    rank = (Role.VIEWER, Role.DEVELOPER, Role.ADMIN)
    if rank.index(operator.role) >= rank.index(role):
        require(operator, role, "shop", command="ps")
    else:
        with pytest.raises(
            Refused, match=f"the key '{operator.name}' has the role {operator.role.value}: this takes a"
        ):
            require(operator, role, "shop", command="ps")


def test_limited_key_does_not_learn_of_other_apps() -> None:
    require(LIMITED, Role.DEVELOPER, "shop", command="ps")
    for role in Role:
        with pytest.raises(NoSuchApp, match="there is no app 'blog'"):
            require(LIMITED, role, "blog", command="ps")
    assert (sees(LIMITED, "shop"), sees(LIMITED, "blog"), sees(ADMIN, "blog")) == (True, False, True)


def test_admin_of_some_apps_is_no_admin_of_the_server() -> None:
    """Else such a key could let itself in everywhere with keys:add."""
    require(LIMITED_ADMIN, Role.ADMIN, "shop", command="ps")
    require(LIMITED_ADMIN, Role.DEVELOPER, command="ps")
    with pytest.raises(Refused, match="the key 'lara' is for shop alone and this is for all apps"):
        require(LIMITED_ADMIN, Role.ADMIN, command="ps")


# ---- keys -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521", "ssh-rsa"])
def test_public_key_is_taken_without_its_comment(kind: str) -> None:
    private = new_key(kind)
    found = parse_key("anna", public_text(private, "anna@laptop"), Role.DEVELOPER, ("shop",), NOW)
    assert found.public == " ".join(public_text(private).split())
    assert found.fingerprint == private.get_fingerprint()
    assert (found.name, found.role, found.apps, found.added_at) == ("anna", Role.DEVELOPER, ("shop",), NOW)


def test_comments_beside_a_key_are_left_out() -> None:
    text = f"# the key of anna\n\n{public_text(new_key())}\n"
    assert parse_key("anna", text, Role.DEVELOPER, (), NOW).name == "anna"


def test_several_keys_at_once_are_refused() -> None:
    text = public_text(new_key()) + "\n" + public_text(new_key())
    with pytest.raises(UsageError, match="those are several keys: give one of them"):
        parse_key("anna", text, Role.DEVELOPER, (), NOW)


@pytest.mark.parametrize(("bits", "taken"), [(1024, False), (2048, True)])
def test_rsa_keys_that_are_too_short_are_refused(bits: int, taken: bool) -> None:
    text = public_text(asyncssh.generate_private_key("ssh-rsa", key_size=bits))
    if taken:
        assert parse_key("anna", text, Role.DEVELOPER, (), NOW).name == "anna"
        return
    with pytest.raises(UsageError, match="less than 2048 bits is too weak"):
        parse_key("anna", text, Role.DEVELOPER, (), NOW)


def test_private_key_is_recognised_and_not_repeated() -> None:
    text = new_key().export_private_key("openssh").decode()
    with pytest.raises(UsageError, match=r"that is a private key: keep it, and give the \.pub file") as caught:
        parse_key("anna", text, Role.DEVELOPER, (), NOW)
    assert text.splitlines()[1] not in str(caught.value)


@pytest.mark.parametrize("text", ["", "hello", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-ed25519 ####", "\x00\xff"])
def test_text_that_is_no_key(text: str) -> None:
    with pytest.raises(UsageError, match="that is not a public key: give one line"):
        parse_key("anna", text, Role.DEVELOPER, (), NOW)


def test_kind_of_key_that_is_not_taken() -> None:
    with pytest.raises(UsageError, match="keys of kind ssh-dss are not taken: make one with 'ssh-keygen"):
        parse_key("anna", public_text(new_key("ssh-dss")), Role.DEVELOPER, (), NOW)


@pytest.mark.parametrize("name", ["", "Anna", "-anna", "anna-", "a b", "a/b", "a\n", "ä", "--help", "a" * 65, "'"])
def test_bad_name(name: str) -> None:
    with pytest.raises(UsageError, match="is not a key's name: use lowercase letters"):
        parse_key(name, public_text(new_key()), Role.DEVELOPER, (), NOW)


@pytest.mark.parametrize("name", ["a", "anna", "anna@laptop.example.org", "a_b-c", "a" * 64])
def test_good_name(name: str) -> None:
    assert parse_key(name, public_text(new_key()), Role.DEVELOPER, (), NOW).name == name


def test_key_that_was_added_comes_in_until_it_is_removed(office: Office) -> None:
    ring = StoreKeyRing(office.store)
    added = add_key(office.parts, "anna", public_text(new_key()), Role.DEVELOPER)
    assert ring.find(added.fingerprint) == added
    remove_key(office.parts, "anna")
    assert ring.find(added.fingerprint) is None
    with office.store.read() as tx:
        assert tx.keys.all() == []


def test_name_and_key_are_there_once(office: Office) -> None:
    text = public_text(new_key())
    add_key(office.parts, "anna", text, Role.DEVELOPER)
    with pytest.raises(LockstepError, match="there is a key named anna: remove it first"):
        add_key(office.parts, "anna", public_text(new_key()), Role.DEVELOPER)
    with pytest.raises(LockstepError, match="this key may come in already, as anna"):
        add_key(office.parts, "bert", text, Role.DEVELOPER)


def test_key_for_an_app_that_is_not_there(office: Office) -> None:
    with pytest.raises(NoSuchApp):
        add_key(office.parts, "anna", public_text(new_key()), Role.DEVELOPER, ("shop",))
    with office.store.read() as tx:
        assert tx.keys.all() == []


def test_unknown_key_is_not_removed(office: Office) -> None:
    with pytest.raises(LockstepError, match="there is no key named 'anna': 'keys' lists those there are"):
        remove_key(office.parts, "anna")


def test_last_admin_stays(office: Office) -> None:
    """An admin of some apps, or a developer, could not let anybody in again."""
    office.add_app("shop")
    add_key(office.parts, "root", public_text(new_key()), Role.ADMIN)
    add_key(office.parts, "lara", public_text(new_key()), Role.ADMIN, ("shop",))
    add_key(office.parts, "dora", public_text(new_key()), Role.DEVELOPER)
    with pytest.raises(LockstepError, match="root is the last admin's key: add another admin first"):
        remove_key(office.parts, "root")
    add_key(office.parts, "anna", public_text(new_key()), Role.ADMIN)
    remove_key(office.parts, "root")
    with pytest.raises(LockstepError, match="anna is the last admin's key"):
        remove_key(office.parts, "anna")


def test_key_for_some_commands_runs_no_other() -> None:
    ci = key("ci", role=Role.DEVELOPER, commands=("git-push", "logs"))
    require(ci, Role.DEVELOPER, "shop", command="git-push")
    require(ci, Role.VIEWER, "shop", command="logs")
    with pytest.raises(Refused, match="the key 'ci' is for git-push, logs alone and not for config:set"):
        require(ci, Role.DEVELOPER, "shop", command="config:set")
    with pytest.raises(Refused, match="has the role viewer"):
        require(ci.model_copy(update={"role": Role.VIEWER}), Role.DEVELOPER, "shop", command="git-push")


def test_admin_of_some_commands_is_not_the_last_who_can_let_others_in(office: Office) -> None:
    add_key(office.parts, "root", public_text(new_key()), Role.ADMIN)
    add_key(office.parts, "robot", public_text(new_key()), Role.ADMIN, (), ("keys",))
    with pytest.raises(LockstepError, match="root is the last admin's key"):
        remove_key(office.parts, "root")


def test_last_use_is_noted_now_and_then(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each note is a write to the disk, so a key that comes in all the time is not noted each time."""
    moment, writes = [NOW], 0
    ring = StoreKeyRing(office.store, lambda: moment[0])
    fingerprint = add_key(office.parts, "anna", public_text(new_key()), Role.ADMIN).fingerprint
    write = office.store.write

    def counted() -> Any:
        nonlocal writes
        writes += 1
        return write()

    monkeypatch.setattr(office.store, "write", counted)

    def come(seconds: float) -> tuple[datetime | None, int]:
        moment[0] = NOW + timedelta(seconds=seconds)
        found = ring.find(fingerprint)
        assert found is not None
        ring.used(found)
        again = ring.find(fingerprint)
        assert again is not None
        return again.used_at, writes

    step = USED_STEP.total_seconds()
    assert come(0) == (NOW, 1)
    assert come(step - 1) == (NOW, 1)
    assert come(step) == (NOW + USED_STEP, 2)
    assert come(0) == (NOW, 3)  # the clock was set back


def test_nobody_is_kept_out_since_his_use_can_not_be_noted(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    ring = StoreKeyRing(office.store)
    office.store.close()
    (office.folder / "lockstep.db").write_bytes(b"not a database" * 1000)
    ring.used(ADMIN)
    assert "the last use of the key anna is not noted" in caplog.text


# ---- git --------------------------------------------------------------------------------------------------------


async def test_first_push_makes_app_and_repository(office: Office, tmp_path: Path) -> None:
    path = await office.pushes.admit(DEVELOPER, "shop", write=True)
    assert path == str(tmp_path / "repos/shop.git")
    assert (tmp_path / "repos/shop.git/HEAD").is_file()
    assert await office.pushes.admit(VIEWER, "shop", write=False) == path
    with pytest.raises(Refused):
        await office.pushes.admit(VIEWER, "shop", write=True)


@pytest.mark.parametrize("app", ["blog", "../shop", "-shop", "shop.git", ""])
async def test_reading_makes_no_app(office: Office, app: str) -> None:
    with pytest.raises(NoSuchApp):
        await office.pushes.admit(ADMIN, app, write=False)


@pytest.mark.parametrize("app", ["../shop", "-shop", "Shop", "a" * 41, "", "shop.git", "--upload-pack=x"])
async def test_name_that_no_app_may_have_is_refused(office: Office, app: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not an app name"):
        await office.pushes.admit(ADMIN, app, write=True)
    assert not (tmp_path / "repos").exists()


async def test_limited_key_does_not_make_other_apps(office: Office) -> None:
    with pytest.raises(Refused, match="the key 'lena' is for shop alone: it can not make blog"):
        await office.pushes.admit(LIMITED, "blog", write=True)
