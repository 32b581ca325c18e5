"""The files of one commit, read from git's objects: no work tree, and nothing of the tree is trusted.

The whole tree is checked once, when it is opened; whatever reads from it later need not check again.
"""

from __future__ import annotations

import copy
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from builder.model import MANIFEST_LIMIT
from builder.objects import Objects
from builder.treepaths import Links, checked_name
from runtime.errors import SourceError
from runtime.model import GIB, MIB

ENTRY_LIMIT: Final = 200_000  # files, symlinks and folders of one commit
LINK_LIMIT: Final = 20_000  # symlinks of one commit
PATH_LIMIT: Final = 1000  # characters of one path, so that it fits into the kernel's 4096 bytes
FILE_LIMIT: Final = 256 * MIB  # bytes of one file: it is in memory as a whole while it is sent
SIZE_LIMIT: Final = 2 * GIB  # bytes of all files
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_LFS: Final = b"version https://git-lfs.github.com/spec/v1\n"
_LFS_SIZES: Final = range(120, 200)  # bytes of an LFS pointer


class Entry(NamedTuple):
    """A file or a symlink of a commit."""

    path: str
    mode: int  # as git has it: 0o100644, 0o100755, 0o120000
    id: bytes  # of the blob, hex
    size: int = 0  # bytes

    @property
    def symlink(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def executable(self) -> bool:
        return bool(self.mode & stat.S_IXUSR)


class CommitSource:
    """A commit as a Source; the files are read when they are asked for.

    Reading is blocking and for one thread at a time. Close it, or use it in a `with`.
    """

    def __init__(self, repo_path: Path, commit: str) -> None:
        """Open `commit` (40 hex digits) of the bare repository and check its tree. Raises SourceError."""
        if not _COMMIT.fullmatch(commit):
            raise SourceError(f"'{commit[:60]}' is not a commit id: give its 40 hex digits")
        self._objects = Objects(repo_path)
        try:
            tree, time = self._objects.commit(commit.encode())
            self.time = time  # the commit's, seconds since 1970, within what a tar and a zip can hold
            self._entries = _by_path(_sized(self._objects, _walk(self._objects, tree)))
            self.warnings = _lfs_warnings(self._objects, self._entries.values())  # for the pusher
        except BaseException:
            self._objects.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the repository's files back; the views from `below` end with it."""
        self._objects.close()

    def paths(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def entries(self) -> Sequence[Entry]:
        """Every file and symlink, sorted by path."""
        return tuple(self._entries.values())

    def read(self, path: str, limit: int = MANIFEST_LIMIT) -> bytes | None:
        entry = self._entries.get(path)
        if entry is None:
            return None
        if entry.symlink:
            raise SourceError(f"'{path}' is a symlink and must be a file: commit the file itself")
        if entry.size > limit:
            raise SourceError(f"'{path}' has {entry.size} bytes and may have {limit}: make it smaller")
        return self.content(entry)

    def content(self, entry: Entry) -> bytes:
        """The bytes of a file, or the target of a symlink."""
        return self._objects.blob(entry.id)

    def below(self, root: str) -> CommitSource:
        parts = [part for part in root.split("/") if part not in ("", ".")]
        if root.startswith("/") or ".." in parts:
            raise SourceError(f"'{root[:200]}' is not a folder of the commit: give a relative path without '..'")
        if not parts:
            return self
        self._refuse_symlinked(parts)
        folder = "/".join(parts) + "/"
        inside = [entry for entry in self._entries.values() if entry.path.startswith(folder)]
        if not inside:
            raise SourceError(f"the commit has no folder '{root[:200]}': correct the root, or commit the folder")
        view = copy.copy(self)
        view._entries = {entry.path[len(folder) :]: entry._replace(path=entry.path[len(folder) :]) for entry in inside}
        view.warnings = (*_lfs_warnings(self._objects, view._entries.values()), *view._outside(folder))
        return view

    def _refuse_symlinked(self, parts: list[str]) -> None:
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            entry = self._entries.get(path)
            if entry is not None and entry.symlink:
                raise SourceError(f"'{path}' is a symlink and can't be the root: name the folder it points to")

    def _outside(self, folder: str) -> tuple[str, ...]:
        """Warnings for symlinks that stay in the commit but leave the folder that is built."""
        links = Links({entry.path: self.content(entry) for entry in self._entries.values() if entry.symlink})
        return tuple(
            f"symlink '{folder}{path}' leaves '{folder}', and its target is not there" for path in links.outside()
        )


def _walk(objects: Objects, root: bytes) -> list[Entry]:
    """All entries of a tree, each path checked. Raises SourceError for the first that is not safe."""
    found: list[Entry] = []
    folders = [("", root)]
    count = 0
    while folders:
        prefix, tree = folders.pop()
        names = set()
        for raw, mode, blob in objects.tree(tree):
            count += 1
            name = checked_name(prefix, raw)
            path = prefix + name
            if name in names:
                raise SourceError(f"'{path}' is in the tree twice: make the commit again with git")
            names.add(name)
            if stat.S_ISDIR(mode):
                folders.append((path + "/", blob))
            else:
                found.append(Entry(path, _checked_mode(path, mode), blob))
            _check_bounds(count, path)
    return found


def _check_bounds(count: int, path: str) -> None:
    if count > ENTRY_LIMIT:
        raise SourceError(f"the commit has more than {ENTRY_LIMIT} files and folders: commit fewer")
    if len(path) > PATH_LIMIT:
        raise SourceError(f"a path is longer than {PATH_LIMIT} characters: shorten '{path[:60]}…'")


def _checked_mode(path: str, mode: int) -> int:
    kind = stat.S_IFMT(mode)
    if kind == 0o160000:
        raise SourceError(f"'{path}' is a submodule, and submodules are not supported: commit its files instead")
    if kind not in (stat.S_IFREG, stat.S_IFLNK):
        raise SourceError(f"'{path}' has the mode {mode:o}, which is no file and no symlink: commit it again")
    return mode


def _sized(objects: Objects, entries: list[Entry]) -> list[Entry]:
    """The entries with their sizes, after the bounds on sizes and the targets of symlinks have been checked."""
    sizes = objects.sizes({entry.id for entry in entries})
    entries = [entry._replace(size=sizes[entry.id]) for entry in entries]
    biggest = max(entries, key=lambda entry: entry.size, default=None)
    if biggest is not None and biggest.size > FILE_LIMIT:
        raise SourceError(
            f"'{biggest.path}' has {biggest.size // MIB} MiB and may have {FILE_LIMIT // MIB}: keep it elsewhere"
        )
    if sum(sizes[entry.id] for entry in entries) > SIZE_LIMIT:
        raise SourceError(f"the commit's files have more than {SIZE_LIMIT // MIB} MiB: keep large files elsewhere")
    _check_links(objects, [entry for entry in entries if entry.symlink])
    return entries


def _check_links(objects: Objects, symlinks: list[Entry]) -> None:
    if len(symlinks) > LINK_LIMIT:
        raise SourceError(f"the commit has more than {LINK_LIMIT} symlinks: commit the files themselves")
    for entry in symlinks:
        if entry.size > PATH_LIMIT:
            raise SourceError(f"symlink '{entry.path}' points to a path longer than {PATH_LIMIT} bytes: shorten it")
    links = Links({entry.path: objects.blob(entry.id) for entry in symlinks})
    for path in links.outside():
        raise SourceError(
            f"symlink '{path}' points out of the commit, to '{links.target(path)}': "
            "make it relative to a file of the commit, or commit the file itself"
        )


def _by_path(entries: list[Entry]) -> dict[str, Entry]:
    return {entry.path: entry for entry in sorted(entries)}


def _lfs_warnings(objects: Objects, entries: Iterable[Entry]) -> tuple[str, ...]:
    small = (entry for entry in entries if entry.size in _LFS_SIZES and not entry.symlink)
    pointers = [entry.path for entry in small if objects.blob(entry.id).startswith(_LFS)]
    if not pointers:
        return ()
    names = ", ".join(f"'{path}'" for path in pointers[:5]) + (f" and {len(pointers) - 5} more" if pointers[5:] else "")
    return (f"git lfs is not supported, only its pointer is deployed for {names}: commit the file itself",)
