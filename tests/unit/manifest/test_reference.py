"""docs/manifest: the reference files name every key and are manifests themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from builder.manifest import deploio, paas
from builder.manifest.pending import PENDING
from runtime.model import Dialect
from tests.unit.manifest.conftest import DEPLOIO, PAAS, PROCFILE, read

DOCS = Path(__file__).parents[3] / "docs" / "manifest"
TEXTS = {PAAS: (DOCS / "app.yaml").read_text(), DEPLOIO: (DOCS / "deploio.yaml").read_text()}
MODELS: list[tuple[str, type[BaseModel]]] = [(PAAS, paas.Document), (DEPLOIO, deploio.Document)]


def keys(model: type[BaseModel]) -> set[str]:
    """Every key that a model and the models in it know."""
    found = set()
    for name, field in model.model_fields.items():
        found |= {field.alias or name} | {key for inner in models_in(field.annotation) for key in keys(inner)}
    return found


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def all_on(text: str) -> str:
    """The file with its switched-off keys, the lines of '#' without a space, switched on."""
    return re.sub(r"(?m)^#(?=\S| {2}\S+:( |$)| {4}\S+:)", "", text) if "\n#static_dir" in text else text


@pytest.mark.parametrize(("path", "model"), MODELS)
def test_every_key_is_described(path: str, model: type[BaseModel]) -> None:
    written = set(re.findall(r"(?m)^#?\s*(?:- )?([A-Za-z_]+):(?: |$)", TEXTS[path]))
    assert keys(model) - written == set()


@pytest.mark.parametrize("path", TEXTS)
def test_reference_file_is_a_manifest(path: str) -> None:
    manifest = read({path: TEXTS[path], PROCFILE: "web: x"} if path == DEPLOIO else {path: TEXTS[path]})
    waiting = {f"{path}: {key}" for key in PENDING[Dialect(path)]}
    assert {": ".join(warning.split(": ")[:2]) for warning in manifest.warnings} <= waiting


def test_switched_off_keys_are_right_too() -> None:
    static = all_on(TEXTS[PAAS]).replace("runtime: python", "runtime: static").replace("dockerfile: ", "#")
    site = read({PAAS: static}).spec.build.static
    assert (site.folder, site.spa, sorted(site.headers)) == ("dist", True, ["/*", "/assets/*"])
    own = read({PAAS: all_on(TEXTS[PAAS])}).spec.build
    assert own.dockerfile == "deploy/Dockerfile"


@pytest.mark.parametrize("path", TEXTS)
def test_keys_that_nothing_acts_on_are_marked(path: str) -> None:
    for key in PENDING[Dialect(path)]:
        comments = re.findall(rf"(?m)((?:^ *#.*\n)+) *{key.split('.')[-1]}:", TEXTS[path])
        assert any("[not yet]" in comment for comment in comments)
