"""Real bare repositories for tests, also with trees that git's own commands refuse to make."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from builder.source import CommitSource

WHO = "Ada <ada@example.org>"
TIME = 1_700_000_000


class Link(str):
    """The target of a symlink."""


class Program(str):
    """The content of a file that is executable."""


Content = str | bytes
Entry = tuple[str, bytes, str]  # mode, name, object


class Repository:
    """A bare repository that objects are put into one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "-q", "--bare", str(path), at=path.parent)

    def git(self, *args: str, stdin: bytes = b"", at: Path | None = None) -> str:
        done = subprocess.run(["git", *args], cwd=at or self.path, input=stdin, capture_output=True, check=True)
        return done.stdout.decode().strip()

    def blob(self, content: Content) -> str:
        data = content.encode() if isinstance(content, str) else content
        return self.git("hash-object", "-w", "--stdin", stdin=data)

    def tree(self, entries: Iterable[Entry]) -> str:
        """A tree with exactly these entries, in this order, whatever they are."""
        raw = b"".join(f"{mode} ".encode() + name + b"\0" + bytes.fromhex(blob) for mode, name, blob in entries)
        return self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)

    def files(self, files: Mapping[str, Content]) -> str:
        """A tree of files by path."""
        folders: dict[str, dict[str, Content]] = {}
        entries: list[Entry] = []
        for path, content in files.items():
            name, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(name, {})[rest] = content
            else:
                mode = {Link: "120000", Program: "100755"}.get(type(content), "100644")
                entries.append((mode, name.encode(), self.blob(content)))
        entries += [("40000", name.encode(), self.files(inside)) for name, inside in folders.items()]
        return self.tree(sorted(entries, key=lambda entry: entry[1] + b"/" * (entry[0] == "40000")))

    def commit(self, tree: str, time: int = TIME) -> str:
        raw = f"tree {tree}\nauthor {WHO} {time} +0000\ncommitter {WHO} {time} +0000\n\nmessage\n"
        return self.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=raw.encode())

    def source(self, files: Mapping[str, Content]) -> CommitSource:
        """A commit of these files, opened; to be used in a `with`."""
        return CommitSource(self.path, self.commit(self.files(files)))

    def source_of(self, *entries: Entry) -> CommitSource:
        """A commit whose root tree has exactly these entries."""
        return CommitSource(self.path, self.commit(self.tree(entries)))
