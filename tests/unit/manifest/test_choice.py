"""Which manifest rules, and what is said about the others."""

from __future__ import annotations

import time

import pytest

from runtime.errors import SourceError
from runtime.model import AppSpec, Dialect, Health, Manifest, Process, ProcessKind
from tests.unit.manifest.conftest import DEPLOIO, PAAS, PROCFILE, read, refusal

EMPTY = {PAAS: "port: 8000", DEPLOIO: "port: 8080", PROCFILE: "web: serve"}


@pytest.mark.parametrize(
    ("present", "ruling", "warnings"),
    [
        ((PAAS,), Dialect.PAAS, ()),
        ((DEPLOIO,), Dialect.DEPLOIO, ()),
        ((PROCFILE,), Dialect.PROCFILE, ()),
        ((DEPLOIO, PROCFILE), Dialect.DEPLOIO, ()),
        (
            (PAAS, PROCFILE),
            Dialect.PAAS,
            ("Procfile: is ignored, .paas/app.yaml rules, remove one of the two",),
        ),
        (
            (PAAS, DEPLOIO, PROCFILE),
            Dialect.PAAS,
            (
                ".deploio.yaml: is ignored, .paas/app.yaml rules, remove one of the two",
                "Procfile: is ignored, .paas/app.yaml rules, remove one of the two",
            ),
        ),
    ],
)
def test_first_present_manifest_rules(present: tuple[str, ...], ruling: Dialect, warnings: tuple[str, ...]) -> None:
    manifest = read({path: EMPTY[path] for path in present})
    assert (manifest.spec.dialect, manifest.warnings) == (ruling, warnings)


def test_no_manifest_is_one_web_process() -> None:
    web = Process(name="web", kind=ProcessKind.WEB, port=8000, health=Health())
    spec = AppSpec(dialect=Dialect.NONE, processes=(web,))
    assert read({"main.py": "", "Procfile.dev": "web: x", "sub/Procfile": "x"}) == Manifest(spec=spec)


@pytest.mark.parametrize(
    ("path", "right"),
    [
        (".paas/app.yml", PAAS),
        (".paas/App.yaml", PAAS),
        (".PAAS/app.YML", PAAS),
        (".deploio.yml", DEPLOIO),
        (".Deploio.yaml", DEPLOIO),
        ("procfile", PROCFILE),
    ],
)
def test_nearly_right_name_is_refused(path: str, right: str) -> None:
    assert refusal({path: "x", "main.py": ""}) == f"{path}: this name is not read, call the file {right}"


def test_ignored_manifest_is_not_even_read() -> None:
    assert read({PAAS: "port: 1", DEPLOIO: "[" * 1_000_000}).spec.dialect is Dialect.PAAS


@pytest.mark.parametrize("path", [PAAS, DEPLOIO, PROCFILE])
def test_huge_manifest_is_refused_quickly(path: str) -> None:
    huge = b"a" * 50_000_000
    began = time.monotonic()
    with pytest.raises(SourceError, match="is larger than"):
        read({path: huge})
    assert time.monotonic() - began < 1
