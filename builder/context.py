"""The build context: the files of a commit and ours, as one tar that is the same whenever it is made.

Every file has the commit's time. The engine's cache does not look at times, and the web server of
static sites makes its ETags of them: the same time for every commit would keep old pages in browsers.
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from builder.ignore import ignore_rules
from builder.source import CommitSource, Entry
from runtime.model import MIB

CHUNK: Final = MIB // 2  # bytes that are sent at once, about
_BLOCK: Final = tarfile.BLOCKSIZE
_NAME: Final = 100  # bytes that fit into a plain header
_HEADER: Final = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_ZERO: Final = b"0000000\0"
_SPACES: Final = b" " * 8
_FILE, _LINK, _FOLDER = b"0", b"2", b"5"


def context_tar(source: CommitSource, extra: Mapping[str, bytes]) -> Iterator[bytes]:
    """An uncompressed tar in chunks of about half a MiB; no more than one file is in memory.

    `extra` has files of ours by path; they win over the app's. `.dockerignore` and `.slugignore` are
    honoured. Raises SourceError when one of them is wrong or an object can't be read.
    """
    return _chunks(_blocks(source, extra))


def _blocks(source: CommitSource, extra: Mapping[str, bytes]) -> Iterator[bytes]:
    known = {""}
    for path, entry in sorted([*_wanted(source, extra), *((path, None) for path in extra)]):
        yield from _new_folders(path, source.time, known)
        yield from _member(path, entry, source, extra)
    yield bytes(2 * _BLOCK)


def _wanted(source: CommitSource, extra: Mapping[str, bytes]) -> Iterator[tuple[str, Entry]]:
    """The app's files that are neither ignored nor in the way of ours."""
    rules = ignore_rules(source)
    taken = {parent for path in extra for parent in (path, *_parents(path))}
    for entry in source.entries():
        if entry.path in taken or (extra and any(parent in extra for parent in _parents(entry.path))):
            continue
        if not rules.ignores(entry.path):
            yield entry.path, entry


def _new_folders(path: str, time: int, known: set[str]) -> Iterator[bytes]:
    """The headers of the folders that `path` is in, as far as they are not `known` yet."""
    if path.rpartition("/")[0] in known:
        return
    for folder in _parents(path):
        if folder not in known:
            known.add(folder)
            yield _header(folder + "/", 0o755, 0, time, _FOLDER)


def _parents(path: str) -> list[str]:
    """The folders that `path` is in, outermost first."""
    return [path[:at] for at, char in enumerate(path) if char == "/"]


def _member(path: str, entry: Entry | None, source: CommitSource, extra: Mapping[str, bytes]) -> tuple[bytes, ...]:
    """A file or symlink as the tar has it: header, content, padding."""
    if entry is not None and entry.symlink:
        return (_header(path, 0o777, 0, source.time, _LINK, source.content(entry)),)
    content = extra[path] if entry is None else source.content(entry)
    mode = 0o755 if entry is not None and entry.executable else 0o644
    return _header(path, mode, len(content), source.time, _FILE), content, bytes(-len(content) % _BLOCK)


def _header(path: str, mode: int, size: int, time: int, kind: bytes, target: bytes = b"") -> bytes:
    name = path.encode()
    if len(name) > _NAME or len(target) > _NAME:
        return _long_header(path, mode, size, time, kind, target)
    fields = [name, b"%07o\0" % mode, _ZERO, _ZERO, b"%011o\0" % size, b"%011o\0" % time, _SPACES, kind, target]
    block = _HEADER.pack(*fields, b"ustar\00000", b"", b"", _ZERO, _ZERO, b"")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _long_header(path: str, mode: int, size: int, time: int, kind: bytes, target: bytes) -> bytes:
    info = tarfile.TarInfo(path)
    info.mode, info.size, info.mtime, info.type, info.linkname = mode, size, time, kind, target.decode()
    return info.tobuf(tarfile.PAX_FORMAT)


def _chunks(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of at most twice CHUNK."""
    held: list[bytes] = []
    size = 0
    for block in blocks:
        if len(block) > CHUNK:
            yield b"".join(held)
            yield from (block[at : at + CHUNK] for at in range(0, len(block), CHUNK))
            held, size = [], 0
            continue
        held.append(block)
        size += len(block)
        if size >= CHUNK:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
