"""What lets this host run operators' commands on its own server: its key let in, and the server's key pinned."""

from __future__ import annotations

import os
from typing import Final

import asyncssh

from gitreceive.keyring import parse_key
from gitreceive.local import ALIAS
from gitreceive.server import load_host_key, make_private_key
from runtime.model import Role
from runtime.parts import now
from runtime.settings import Settings
from runtime.store import Transaction

NAME: Final = "host"  # of the host's key, unless it is taken


def let_host_in(settings: Settings, tx: Transaction) -> None:
    """Make the host's key and let it in as an admin's; what is there already stays."""
    if not settings.client_key.exists():
        make_private_key(settings.client_key)
    public = asyncssh.read_private_key(settings.client_key).export_public_key("openssh").decode()
    key = parse_key(NAME, public, Role.ADMIN, (), now())
    if tx.keys.find(key.fingerprint) is None:
        free = tx.keys.named(NAME) is None
        tx.keys.add(key if free else key.model_copy(update={"name": f"{NAME}-{key.fingerprint[-6:].lower()}"}))


def open_to_host(settings: Settings, port: int) -> None:
    """Write down the server's key and where it listens, for the `ssh` of this host."""
    kind, body = load_host_key(settings.host_key).export_public_key("openssh").decode().split()[:2]
    unfinished = settings.known_hosts.with_name(f"{settings.known_hosts.name}.{os.getpid()}")
    unfinished.write_text(f"{ALIAS} {kind} {body}\n")
    unfinished.rename(settings.known_hosts)
    settings.port_file.write_text(str(port))
