"""Whatever a commit holds, the answer is a manifest or an error of ours."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from builder.manifest import deploio, paas
from runtime.errors import ManifestError, SourceError
from runtime.model import AppSpec, Dialect, Manifest
from tests.unit.manifest.conftest import DEPLOIO, PAAS, PROCFILE, read
from tests.unit.manifest.test_reference import TEXTS, keys

KEYS = sorted(keys(paas.Document) | keys(deploio.Document))
WORDS = ["web", "python", "static", "dockerfile", "@daily", "0 2 * * *", "* * L * 5#2", "0.5", "256M", "5m", "/", "a.b",
         "http://x", "UTC", "undo", "forbid", "micro", "..", ""]  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(WORDS)
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner),
    max_leaves=20,
)
DOCUMENTS = st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), VALUES)
SLOW = settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def is_answered(path: str, text: str | bytes) -> None:
    """Reads it; an error is one of ours, short and printable."""
    manifest, message = Manifest(spec=AppSpec(dialect=Dialect.NONE)), f"{path}: "
    try:
        manifest = read({path: text})
    except (ManifestError, SourceError) as error:
        message = str(error)
    assert message.startswith(f"{path}: ")
    assert len(message) < 10_000
    assert all(line.isprintable() for line in (*message.split("\n"), *manifest.warnings))
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


@pytest.mark.parametrize("path", [PAAS, DEPLOIO, PROCFILE])
@given(raw=st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
@SLOW
def test_any_bytes(path: str, raw: bytes) -> None:
    is_answered(path, raw)


@pytest.mark.parametrize("path", [PAAS, DEPLOIO])
@given(text=st.text(alphabet="ab:-[]{}&*!|>'\"#%@ \n\t?,<1."))
@example("? ")
@example("&a : *a")
@example("<<: ")
@SLOW
def test_any_yaml_marks(path: str, text: str) -> None:
    is_answered(path, text)


@pytest.mark.parametrize("path", [PAAS, DEPLOIO])
@given(document=DOCUMENTS)
@example({"[key]": [], "env": {"[key]": 5}})
@SLOW
def test_any_document(path: str, document: dict[str, Any]) -> None:
    is_answered(path, yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("path", [PAAS, DEPLOIO])
@given(data=st.data())
@SLOW
def test_one_wrong_value_in_a_right_file(path: str, data: st.DataObject) -> None:
    document = yaml.safe_load(TEXTS[path])
    holder: Any = document
    while True:
        key = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
        if not isinstance(holder[key], dict | list) or not holder[key] or data.draw(st.booleans()):
            break
        holder = holder[key]
    holder[key] = data.draw(VALUES)
    is_answered(path, json.dumps(document, allow_nan=False, default=str) if _finite(document) else "a: .nan")


@given(schedule=st.lists(st.text("0123456789*/,-#?LWJANMONFRI", max_size=6), min_size=5, max_size=5).map(" ".join))
@settings(max_examples=500)
def test_any_schedule(schedule: str) -> None:
    is_answered(PAAS, f"cron: [{{name: a, command: b, schedule: '{schedule}'}}]")


def _finite(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def test_models_are_closed() -> None:
    for model in (paas.Document, deploio.Document):
        assert issubclass(model, BaseModel)
        assert model.model_config["extra"] == "forbid"
        assert model.model_config["strict"] is True
        assert model.model_config["frozen"] is True
