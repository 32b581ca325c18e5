"""Values at rest are encrypted with a key that only the server's home folder holds."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from runtime.errors import StoreError


class Vault:
    """Encrypts and decrypts texts with the instance's key."""

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file
        try:
            self._fernet = Fernet(key_file.read_bytes().strip())
        except (OSError, ValueError) as error:
            raise StoreError(f"{key_file} can not be read as a key: restore it from a backup") from error

    def seal(self, text: str) -> bytes:
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise StoreError(
                f"a stored value does not fit {self._key_file}: restore the key it was made with"
            ) from None

    def derive(self, purpose: str) -> str:
        """A password that follows from the instance's key, the same each time."""
        return hmac.new(self._key_file.read_bytes().strip(), purpose.encode(), hashlib.sha256).hexdigest()

    def seal_map(self, values: dict[str, str]) -> bytes:
        return self.seal(json.dumps(values, sort_keys=True))

    def open_map(self, sealed: bytes) -> dict[str, str]:
        values: dict[str, str] = json.loads(self.open(sealed))
        return values


def make_key(key_file: Path) -> None:
    """Write a new key, readable by its owner alone; an existing one stays."""
    try:
        handle = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(handle, "wb") as file:
        file.write(Fernet.generate_key())


def make_password() -> str:
    return secrets.token_urlsafe(32)
