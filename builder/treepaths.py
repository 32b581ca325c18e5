"""Which names and symlinks of a tree are safe to write to a disk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from runtime.errors import SourceError

NAME_LIMIT: Final = 255  # bytes of a file name, the kernel's
_PLAIN: Final = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_.@+-]*")  # nothing in it needs a second look
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
# characters that HFS+ leaves out when it compares names, as git's fsck lists them
_IGNORED_BY_HFS: Final = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_LOOKS: Final = 1000  # path parts and symlinks looked at for one symlink


def checked_name(folder: str, raw: bytes) -> str:
    """The name of a tree's entry as text. Raises SourceError, naming its path, when it is not safe."""
    if _PLAIN.fullmatch(raw) and len(raw) <= NAME_LIMIT:
        return raw.decode()
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        shown = folder + raw.decode("utf-8", "backslashreplace")
        raise SourceError(f"file name '{shown}' is not UTF-8: rename it") from None
    problem = _problem(name, len(raw))
    if problem is not None:
        shown = (folder + name).encode("unicode_escape").decode()[:300]
        raise SourceError(f"path '{shown}' {problem}: rename it")
    return name


def _problem(name: str, size: int) -> str | None:
    if not name:
        return "has an empty part"
    if name in (".", ".."):
        return "has a part that is '.' or '..'"
    if "/" in name:
        return "has a slash in a file name"
    if _CONTROL.search(name):
        return "has a control character"
    if size > NAME_LIMIT:
        return f"has a part of more than {NAME_LIMIT} bytes"
    if is_git_folder(name):
        return "would be a git folder"
    return None


def is_git_folder(name: str) -> bool:
    """Whether some file system takes `name` for `.git`."""
    seen = _IGNORED_BY_HFS.sub("", name).casefold()
    seen = seen.partition(":")[0].rstrip(". ")  # NTFS: a stream's name, and ends that it drops
    return seen in (".git", "git~1")


class Links:
    """The symlinks of a tree, followed as a kernel would follow them."""

    def __init__(self, links: Mapping[str, bytes]) -> None:
        """`links` has the target of each symlink by its path. Raises SourceError for a target that is no path."""
        self._targets = {path: _target(path, raw) for path, raw in links.items()}

    def target(self, path: str) -> str:
        return self._targets[path]

    def outside(self) -> Iterator[str]:
        """The symlinks whose target is not inside the tree. Raises SourceError for one without an end."""
        return (path for path in self._targets if self._leaves(path))

    def _leaves(self, path: str) -> bool:
        at: list[str] = []
        todo = path.split("/")[::-1]
        for _ in range(_LOOKS):
            if not todo:
                return False
            part = todo.pop()
            if part == ".." and not at:
                return True
            if part == "..":
                at.pop()
            elif part not in ("", "."):
                at.append(part)
                target = self._targets.get("/".join(at))
                if target is not None and target.startswith("/"):
                    return True
                if target is not None:
                    at.pop()
                    todo += target.split("/")[::-1]
        raise SourceError(f"symlink '{path}' goes round in a circle: remove it")


def _target(path: str, raw: bytes) -> str:
    try:
        target = raw.decode()
    except UnicodeDecodeError:
        raise SourceError(f"symlink '{path}' points to a name that is not UTF-8: make it again") from None
    if not target or _CONTROL.search(target):
        raise SourceError(f"symlink '{path}' points to no path: make it again")
    return target
