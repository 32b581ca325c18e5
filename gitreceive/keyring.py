"""Whose keys may come in, as the store has them."""

from __future__ import annotations

import re
from datetime import datetime

import asyncssh

from runtime.errors import LockstepError, UsageError
from runtime.model import Key, Role
from runtime.parts import Parts
from runtime.store import Store

NAME = re.compile(r"[a-z0-9](?:[a-z0-9._@-]{0,62}[a-z0-9])?")
KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
         "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")  # fmt: skip


class StoreKeyRing:
    """Implements `gitreceive.model.KeyRing`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, fingerprint: str) -> Key | None:
        with self._store.read() as tx:
            return tx.keys.find(fingerprint)


def parse_key(name: str, text: str, role: Role, apps: tuple[str, ...], now: datetime) -> Key:
    """A key from the text of a .pub file. Raises UsageError."""
    if not NAME.fullmatch(name):
        raise UsageError(f"'{name[:60]}' is not a key's name: use lowercase letters, digits, '.', '_', '@' and '-'")
    if "PRIVATE KEY" in text:
        raise UsageError("that is a private key: keep it, and give the .pub file beside it")
    try:
        public = asyncssh.import_public_key(text.strip())
    except (asyncssh.KeyImportError, ValueError):
        raise UsageError("that is not a public key: give one line of a .pub file, 'ssh-ed25519 AAAA…'") from None
    kind, body = public.export_public_key("openssh").decode().split()[:2]
    if kind not in KINDS:
        raise UsageError(f"keys of kind {kind} are not taken: make one with 'ssh-keygen -t ed25519'")
    return Key(
        name=name,
        public=f"{kind} {body}",
        fingerprint=public.get_fingerprint(),
        role=role,
        apps=apps,
        added_at=now,
    )


def add_key(parts: Parts, name: str, text: str, role: Role, apps: tuple[str, ...], who: str) -> Key:
    """Let a key in. Raises LockstepError when the name or the key is there already."""
    key = parse_key(name, text, role, apps, parts.clock())
    with parts.store.write() as tx:
        for app in apps:
            tx.apps.get(app)
        if tx.keys.named(name) is not None:
            raise LockstepError(f"there is a key named {name}: remove it first, or choose another name")
        known = tx.keys.find(key.fingerprint)
        if known is not None:
            raise LockstepError(f"this key may come in already, as {known.name}")
        tx.keys.add(key)
        tx.events.add(who=who, action="keys:add", detail=f"{name} {key.fingerprint}", result="ok", now=parts.clock())
    return key


def remove_key(parts: Parts, name: str, who: str) -> None:
    """Shut a key out. Raises LockstepError for an unknown name and for the last admin's key."""
    with parts.store.write() as tx:
        key = tx.keys.named(name)
        if key is None:
            raise LockstepError(f"there is no key named '{name[:60]}': 'keys' lists those there are")
        admins = [other for other in tx.keys.all() if other.role is Role.ADMIN and not other.apps]
        if admins == [key]:
            raise LockstepError(f"{name} is the last admin's key: add another admin first")
        tx.keys.remove(name)
        tx.events.add(who=who, action="keys:remove", detail=f"{name} {key.fingerprint}", result="ok", now=parts.clock())
