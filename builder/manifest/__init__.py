"""What a commit asks for: its manifest, in whichever dialect, as one AppSpec."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from builder.manifest.deploio import read_deploio
from builder.manifest.document import printable
from builder.manifest.paas import read_paas
from builder.manifest.procfile import read_procfile
from builder.model import Source
from runtime.errors import ManifestError
from runtime.model import WEB, AppSpec, Dialect, Health, Manifest, Process, ProcessKind

DEFAULT_PORT: Final = 8000  # of web when no manifest says another

_READERS: Final[dict[Dialect, Callable[[Source], Manifest]]] = {  # the first that is present rules
    Dialect.PAAS: read_paas,
    Dialect.DEPLOIO: read_deploio,
    Dialect.PROCFILE: read_procfile,
}


def read_manifest(source: Source) -> Manifest:
    """What the commit asks for, and what the pusher must be told.

    `.paas/app.yaml` rules, else `.deploio.yaml`, else `Procfile`; with none of them the app is one web process.
    Raises ManifestError when the manifest is wrong or nearly has the right name, SourceError from reading it.
    """
    paths = source.paths()
    _refuse_near_misses(paths)
    present = [dialect for dialect in _READERS if dialect.value in paths]
    if not present:
        return _no_manifest()
    manifest = _READERS[present[0]](source)
    return Manifest(spec=manifest.spec, warnings=(*_ignored(present), *manifest.warnings))


def _refuse_near_misses(paths: Iterable[str]) -> None:
    right = {dialect.value.lower(): dialect.value for dialect in _READERS}
    for path in paths:
        name = path.lower()
        known = right.get(f"{name.removesuffix('.yml')}.yaml" if name.endswith(".yml") else name, path)
        if known != path:
            raise ManifestError(f"{printable(path)}: this name is not read, call the file {known}")


def _ignored(present: list[Dialect]) -> tuple[str, ...]:
    ruling, *others = present
    if ruling is Dialect.DEPLOIO:  # it takes the web command from the Procfile
        others = [dialect for dialect in others if dialect is not Dialect.PROCFILE]
    return tuple(f"{other.value}: is ignored, {ruling.value} rules, remove one of the two" for other in others)


def _no_manifest() -> Manifest:
    web = Process(name=WEB, kind=ProcessKind.WEB, port=DEFAULT_PORT, health=Health())
    return Manifest(spec=AppSpec(dialect=Dialect.NONE, processes=(web,)))
