"""A loaded document -> a dialect's model, or one ManifestError that lists every problem in plain words."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from builder.manifest.document import printable
from runtime.errors import ManifestError
from runtime.model import Value

MAX_PROBLEMS: Final = 10  # lines of one message
EMPTY: Final = "is empty, give it a value or remove the key"

Model = TypeVar("Model", bound=Value)
Path = tuple[int | str, ...]

_EXPECTED: Final = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_BOUNDS: Final = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def read(model: type[Model], file: str, document: dict[str, object]) -> Model:
    """`document` as a `model`; a key without a value is a problem. Raises ManifestError with all problems."""
    problems = dict.fromkeys(_empty_paths(document), EMPTY)
    try:
        value = model.model_validate(document)
    except ValidationError as error:
        problems |= {path: text for path, text in _problems(model, error).items() if path not in problems}
    if problems:
        raise refused(file, lines(file, problems))
    return value


def read_leniently(model: type[Model], file: str, document: dict[str, object]) -> tuple[Model, tuple[str, ...]]:
    """`document` as a `model`, and a warning for each foreign key; a key without a value counts as absent.

    Raises ManifestError when what is known is wrong; foreign keys are then named too, as one may be the cause.
    """
    document = _without_empty(document)
    try:
        return model.model_validate(document), ()
    except ValidationError as error:
        problems = _problems(model, error)
        foreign = [tuple(item["loc"]) for item in error.errors() if item["type"] == "extra_forbidden"]
    wrong = {path: text for path, text in problems.items() if path not in foreign}
    if wrong:
        raise refused(file, lines(file, wrong | problems))
    warnings = lines(file, {path: f"{problems[path]} (ignored)" for path in foreign})
    return read(model, file, _without(document, foreign)), tuple(warnings)


def refused(file: str, problems: Sequence[str]) -> ManifestError:
    """The error that shows `problems`, one per line, at most MAX_PROBLEMS of them."""
    shown = list(problems[:MAX_PROBLEMS])
    if more := len(problems) - len(shown):
        shown.append(f"{file}: and {more} more")
    return ManifestError("\n".join(shown))


def lines(file: str, problems: dict[Path, str]) -> list[str]:
    """`file: key.path: sentence` for each problem."""
    return [": ".join(filter(None, (file, path_text(path), printable(text)))) for path, text in problems.items()]


def path_text(path: Iterable[int | str]) -> str:
    """How a key is named in messages: workers[0].name."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{printable(part, 60)}"
    return text.removeprefix(".")


def got(value: object) -> str:
    """How a value that was found is named in messages."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"a text '{printable(value, 60)}'"
    return "a mapping" if isinstance(value, dict) else "a list"


def _problems(model: type[BaseModel], error: ValidationError) -> dict[Path, str]:
    found: dict[Path, str] = {}
    for item in error.errors(include_url=False):
        path = tuple(item["loc"])
        if item["type"] == "value_error" and path[-1:] == ("[key]",):  # pydantic's mark: the key itself is wrong
            path = path[:-1]
        found.setdefault(path, _sentence(model, path, item))
    return found


def _sentence(model: type[BaseModel], path: Path, item: ErrorDetails) -> str:
    kind, given, context = item["type"], item["input"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key, {_nearest(_model_at(model, path), str(path[-1]))}"
    if kind == "missing":
        return "this key is missing, add it"
    if kind == "value_error":
        return str(context["error"])
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, got {got(given)}{_quote_advice(kind, given)}"
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return f"must be {words} {context[name]:g}, got {got(given)}"
    if kind == "literal_error":
        return f"expected {context['expected']}, got {got(given)}"
    if kind == "too_long":
        return f"has {context['actual_length']} entries, at most {context['max_length']} are allowed"
    return f"{item['msg'][:1].lower()}{item['msg'][1:]}, got {got(given)}"


def _quote_advice(kind: str, given: object) -> str:
    if kind == "string_type" and isinstance(given, bool | int | float):
        return ", put it in quotes"
    quoted_bool = kind == "bool_type" and given in ("true", "false")
    quoted_int = kind == "int_type" and isinstance(given, str) and re.fullmatch("[1-9][0-9]{0,17}", given)
    return ", remove the quotes" if quoted_bool or quoted_int else ""


def _nearest(model: type[BaseModel] | None, key: str) -> str:
    known = [field.alias or name for name, field in model.model_fields.items()] if model else []
    lower = {name.lower(): name for name in known}
    if near := get_close_matches(key[:100].lower(), lower, n=1):
        return f"did you mean '{lower[near[0]]}'?"
    if len(known) > 10:
        return "remove it or see docs/manifest for the known ones"
    return f"known here: {', '.join(known)}"


def _model_at(model: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model that holds the key at the end of `path`."""
    here: type[BaseModel] | None = model
    for part in path[:-1]:
        if isinstance(part, str) and here:
            fields = {field.alias or name: field for name, field in here.model_fields.items()}
            here = _model_in(fields[part].annotation) if part in fields else None
    return here


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _empty_paths(value: object, path: Path = ()) -> Iterator[Path]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _empty_paths(item, (*path, key))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _empty_paths(item, (*path, index))


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty(item) for key, item in value.items() if item is not None}
    if isinstance(value, tuple):
        return tuple(_without_empty(item) for item in value)
    return value


def _without(document: dict[str, object], paths: Iterable[Path]) -> dict[str, object]:
    pruned = copy.deepcopy(document)
    for path in paths:
        holder: Any = pruned
        for part in path[:-1]:
            holder = holder[part]
        del holder[path[-1]]
    return pruned
