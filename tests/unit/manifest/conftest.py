"""A commit's files in memory, and how the tests of this folder read a manifest from them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from builder.manifest import read_manifest
from builder.model import MANIFEST_LIMIT, Source
from runtime.errors import ManifestError, SourceError
from runtime.model import Manifest

PAAS = ".paas/app.yaml"
DEPLOIO = ".deploio.yaml"
PROCFILE = "Procfile"


class Files:
    """A Source of files that are given as texts or bytes."""

    def __init__(self, files: Mapping[str, str | bytes]) -> None:
        self._files = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}

    def paths(self) -> tuple[str, ...]:
        return tuple(sorted(self._files))

    def read(self, path: str, limit: int = MANIFEST_LIMIT) -> bytes | None:
        content = self._files.get(path)
        if content is not None and len(content) > limit:
            raise SourceError(f"{path}: is larger than {limit} bytes, make it smaller")
        return content

    def below(self, root: str) -> Source:
        inside = {
            path.removeprefix(f"{root}/"): raw for path, raw in self._files.items() if path.startswith(f"{root}/")
        }
        if not inside:
            raise SourceError(f"{root}: there is no such folder")
        return Files(inside)


def read(files: Mapping[str, str | bytes]) -> Manifest:
    return read_manifest(Files(files))


def refusal(files: Mapping[str, str | bytes]) -> str:
    """The message with which the files are refused."""
    with pytest.raises(ManifestError) as caught:
        read(files)
    return str(caught.value)
