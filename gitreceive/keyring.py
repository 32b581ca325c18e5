"""Whose keys may come in, as the store has them."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import asyncssh
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from runtime.errors import LockstepError, StoreError, UsageError, explain
from runtime.model import Key, Role
from runtime.parts import Parts, now
from runtime.store import Store, Transaction

log = logging.getLogger(__name__)

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._@-]{0,62}[a-z0-9])?")
USED_STEP: Final = timedelta(minutes=5)  # the last use of a key is known to within this, and costs a write as often
RSA: Final = "ssh-rsa"
RSA_LEAST: Final = 2048  # bits of the modulus
KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", RSA,
         "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")  # fmt: skip


class StoreKeyRing:
    """Implements `gitreceive.model.KeyRing`."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = now) -> None:
        self._store = store
        self._clock = clock

    def find(self, fingerprint: str) -> Key | None:
        with self._store.read() as tx:
            return tx.keys.find(fingerprint)

    def used(self, key: Key) -> None:
        moment = self._clock()
        if key.used_at is not None and key.used_at <= moment < key.used_at + USED_STEP:
            return
        try:
            with self._store.write() as tx:
                tx.keys.used(key.fingerprint, moment)
        except StoreError as error:  # nobody is kept out by that
            log.warning("the last use of the key %s is not noted: %s", key.name, explain(error))


def parse_key(
    name: str, text: str, role: Role, apps: tuple[str, ...], now: datetime, commands: tuple[str, ...] = ()
) -> Key:
    """A key from the text of a .pub file. Raises UsageError."""
    if not NAME.fullmatch(name):
        raise UsageError(f"'{name[:60]}' is not a key's name: use lowercase letters, digits, '.', '_', '@' and '-'")
    if "PRIVATE KEY" in text:
        raise UsageError("that is a private key: keep it, and give the .pub file beside it")
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if sum(line.lstrip().startswith(KINDS) for line in lines) > 1:
        raise UsageError("those are several keys: give one of them, and add the others under names of their own")
    try:
        public = asyncssh.import_public_key("\n".join(lines))
    except (asyncssh.KeyImportError, ValueError):
        raise UsageError("that is not a public key: give one line of a .pub file, 'ssh-ed25519 AAAA…'") from None
    kind, body = public.export_public_key("openssh").decode().split()[:2]
    if kind not in KINDS:
        raise UsageError(f"keys of kind {kind} are not taken: make one with 'ssh-keygen -t ed25519'")
    if kind == RSA and _modulus(public) < RSA_LEAST:
        raise UsageError(f"an RSA key of less than {RSA_LEAST} bits is too weak: make one with 'ssh-keygen -t ed25519'")
    return Key(
        name=name,
        public=f"{kind} {body}",
        fingerprint=public.get_fingerprint(),
        role=role,
        apps=apps,
        commands=commands,
        added_at=now,
    )


def _modulus(public: asyncssh.SSHKey) -> int:
    """Bits of an RSA key."""
    key = load_der_public_key(public.export_public_key("pkcs8-der"))
    assert isinstance(key, RSAPublicKey)
    return key.key_size


def add_key(
    parts: Parts, name: str, text: str, role: Role, apps: tuple[str, ...] = (), commands: tuple[str, ...] = ()
) -> Key:
    """Let a key in. Raises LockstepError when the name or the key is there already."""
    key = parse_key(name, text, role, apps, parts.clock(), commands)
    with parts.store.write() as tx:
        for app in apps:
            tx.apps.get(app)
        if tx.keys.named(name) is not None:
            raise LockstepError(f"there is a key named {name}: remove it first, or choose another name")
        known = tx.keys.find(key.fingerprint)
        if known is not None:
            raise LockstepError(f"this key may come in already, as {known.name}")
        tx.keys.add(key)
    return key


def remove_key(parts: Parts, name: str) -> Key:
    """Shut a key out. Raises LockstepError for an unknown name and for the last admin's key."""
    with parts.store.write() as tx:
        key = tx.keys.named(name)
        if key is None:
            raise LockstepError(f"there is no key named '{name[:60]}': 'keys' lists those there are")
        if whole_admins(tx) == [key]:
            raise LockstepError(f"{name} is the last admin's key: add another admin first")
        tx.keys.remove(name)
    return key


def whole_admins(tx: Transaction) -> list[Key]:
    """The keys that may do everything everywhere, so also let others in."""
    return [key for key in tx.keys.all() if key.role is Role.ADMIN and not key.apps and not key.commands]
