"""Git's objects of one bare repository, read with dulwich; what can not be read is a SourceError."""

from __future__ import annotations

import os
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from dulwich.errors import ObjectFormatException
from dulwich.object_store import DiskObjectStore, PackBasedObjectStore
from dulwich.objects import Blob, Commit, ObjectID, Tree, parse_tree

from runtime.errors import SourceError

EARLIEST: Final = 315_619_200  # 1980-01-02: a zip, and so a wheel, holds no earlier time
LATEST: Final = 4_102_444_800  # 2100-01-01
_ID_SIZE: Final = 20  # bytes of an object's name in a tree
_NO_CONFIG: Final = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
_UNREADABLE: Final = (KeyError, ValueError, AssertionError, zlib.error, ObjectFormatException, OSError)


class Objects:
    """Reads raw objects; no setting of the repository or of the host is looked at."""

    def __init__(self, repo_path: Path) -> None:
        self._folder = repo_path
        if not (repo_path / "objects").is_dir():
            raise SourceError(f"{repo_path} is not a bare git repository: push to it first")
        self._store = DiskObjectStore(str(repo_path / "objects"))

    def close(self) -> None:
        self._store.close()

    def commit(self, commit: bytes) -> tuple[bytes, int]:
        """The tree of a commit, and its time in seconds, kept between EARLIEST and LATEST."""
        raw = self._raw(commit, Commit.type_num)
        try:
            found = Commit.from_string(raw)
            return found.tree, min(max(found.commit_time, EARLIEST), LATEST)
        except (*_UNREADABLE, AttributeError, TypeError) as error:
            raise SourceError(f"commit {commit.decode()} can't be read: push it again") from error

    def tree(self, tree: bytes) -> list[tuple[bytes, int, bytes]]:
        """Name, mode and object of each entry, as they stand there."""
        raw = self._raw(tree, Tree.type_num)
        try:
            return list(parse_tree(raw, _ID_SIZE))
        except _UNREADABLE as error:
            raise SourceError(f"tree {tree.decode()} of the commit is damaged: push it again") from error

    def blob(self, blob: bytes) -> bytes:
        return self._raw(blob, Blob.type_num)

    def sizes(self, blobs: Iterable[bytes]) -> dict[bytes, int]:
        """The size of each blob, in bytes.

        Git is asked because it knows them without unpacking anything: a file of a few kilobytes may
        unpack to more than the memory there is.
        """
        names = list(blobs)
        done = subprocess.run(
            ["git", f"--git-dir={self._folder}", "cat-file", "--batch-check=%(objecttype) %(objectsize)", "--buffer"],
            input=b"".join(name + b"\n" for name in names),
            capture_output=True,
            env={"PATH": os.environ.get("PATH", os.defpath), **_NO_CONFIG},
            check=False,
        )
        rows = [line.split() for line in done.stdout.splitlines()]
        if done.returncode or len(rows) != len(names):
            reason = done.stderr.decode(errors="replace")[-200:].strip()
            raise SourceError(f"git can't read the objects of {self._folder.name}: {reason}")
        for name, (kind, _) in zip(names, rows, strict=True):
            if kind != b"blob":
                raise SourceError(f"file {name.decode()} of the commit is not in the repository: push it again")
        return {name: int(size) for name, (_, size) in zip(names, rows, strict=True)}

    def _raw(self, name: bytes, kind: int) -> bytes:
        try:
            # not the store's own get_raw: it looks for a multi-pack index on the disk each time
            found, content = PackBasedObjectStore.get_raw(self._store, ObjectID(name))
        except _UNREADABLE as error:
            raise SourceError(f"object {name.decode()} can't be read from the repository: push it again") from error
        if found != kind:
            raise SourceError(f"object {name.decode()} is not what the commit says it is: push it again")
        return content
