"""A manifest's bytes -> plain mappings, tuples and scalars, safe for hostile input.

The document is built from the parser's events, one after the other, so nothing is expanded or nested before
it was counted. Scalars follow YAML 1.2: `yes`, `off`, `010` and `12:30` are texts, not surprises.
"""

from __future__ import annotations

import copy
import math
import re
from typing import Any, Final

import yaml

from runtime.errors import ManifestError

MAX_DEPTH: Final = 20  # mappings and lists inside one another
MAX_WEIGHT: Final = 10_000  # one per node plus one per 100 characters, aliases counted as if written out

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STR_TAGS: Final = (None, "!", "tag:yaml.org,2002:str")
_COLLECTION_TAGS: Final = (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT: Final = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_HINTS: Final = (
    ("mapping values are not allowed", "check the indentation, or quote a text that holds ': '"),
    ("expected alphabetic or numeric character", "quote a text that begins with '*' or '&'"),
    ("cannot start any token", "indent with spaces, and quote a text that begins with '@', '`' or '%'"),
    ("did not find expected key", "check the indentation, and quotes inside of texts"),
    ("did not find expected '-' indicator", "check the indentation"),
)


def text_of(file: str, raw: bytes) -> str:
    """The text of a file, without a byte order mark. Raises ManifestError when it is not UTF-8."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{file}: byte {error.start + 1} is not UTF-8 text, save the file as UTF-8") from None


def load(file: str, raw: bytes) -> dict[str, object]:
    """The one YAML mapping in `raw`: keys are str, lists are tuples, no value is shared.

    Raises ManifestError with line and column when the YAML is wrong, too deep, too large once its aliases are
    expanded, or not one mapping.
    """
    builder = _Builder(file)
    try:
        for event in yaml.parse(text_of(file, raw), Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        raise ManifestError(_syntax_message(file, error)) from None
    return builder.mapping()


def printable(text: str, limit: int = 300) -> str:
    """`text` on one line, with nothing in it that a terminal would act on, cut after `limit` characters."""
    shown = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text[: limit + 1])
    return shown if len(shown) <= limit else shown[:limit] + "…"


class _Frame:
    """A mapping or a list whose end has not come yet."""

    def __init__(self, start: yaml.Event) -> None:
        self.start: Any = start
        self.is_mapping = isinstance(start, yaml.MappingStartEvent)
        self.fields: dict[str, object] = {}
        self.items: list[object] = []
        self.key: str | None = None  # the mapping's key that waits for its value
        self.merged: object = None  # what stands at '<<'
        self.merge_next = False
        self.weight = 1


class _Builder:
    """Takes parser events in order and keeps the value they make."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._frames: list[_Frame] = []
        self._anchors: dict[str, tuple[object, int]] = {}  # name -> its value and weight
        self._weight = 0
        self._documents = 0
        self._root: object = None

    def mapping(self) -> dict[str, object]:
        """The finished document."""
        if isinstance(self._root, dict):
            return self._root
        if self._root is None:
            raise ManifestError(f"{self._file}: the file is empty, write at least one key or remove the file")
        raise ManifestError(f"{self._file}: expected keys such as 'port: 8000' at the top, found something else")

    def take(self, event: yaml.Event) -> None:
        """Add the next event. Raises ManifestError when a bound is passed or the document is not plain data."""
        if isinstance(event, yaml.DocumentStartEvent):
            self._begin_document(event)
        elif isinstance(event, yaml.ScalarEvent):
            self._add(event, self._scalar(event), 1 + len(event.value) // 100)
        elif isinstance(event, yaml.AliasEvent):
            self._add_alias(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()

    def _begin_document(self, event: yaml.Event) -> None:
        self._documents += 1
        if self._documents > 1:
            raise self._error(event, "a second document begins here, keep one and remove the '---'")

    def _open(self, event: Any) -> None:
        if event.tag not in _COLLECTION_TAGS:
            raise self._error(event, f"the tag '{printable(event.tag, 60)}' is not allowed, remove it")
        if len(self._frames) == MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH} levels, make it flatter")
        frame = self._frames[-1] if self._frames else None
        if frame and frame.is_mapping and frame.key is None and not frame.merge_next:
            raise self._error(event, "a key must be a text, found a list or mapping")
        self._count(event, 1)
        if event.anchor:
            self._anchors.pop(event.anchor, None)
        self._frames.append(_Frame(event))

    def _close(self) -> None:
        frame = self._frames.pop()
        value: object = self._merge(frame) if frame.is_mapping else tuple(frame.items)
        self._place(frame.start, value, frame.weight)

    def _add(self, event: Any, value: object, weight: int) -> None:
        self._count(event, weight)
        self._place(event, value, weight)

    def _add_alias(self, event: Any) -> None:
        name = event.anchor
        if any(frame.start.anchor == name for frame in self._frames):
            raise self._error(event, f"'*{printable(name, 60)}' stands inside of what it names, remove it")
        if name not in self._anchors:
            raise self._error(event, f"'*{printable(name, 60)}' names nothing above it, add '&' or quote the text")
        value, weight = self._anchors[name]
        self._count(event, weight)
        self._place(event, copy.deepcopy(value), weight)

    def _place(self, event: Any, value: object, weight: int) -> None:
        if event.anchor and not isinstance(event, yaml.AliasEvent):
            self._anchors[event.anchor] = (value, weight)
        if not self._frames:
            self._root = value
            return
        frame = self._frames[-1]
        frame.weight += weight
        if not frame.is_mapping:
            frame.items.append(value)
        elif frame.merge_next:
            frame.merged, frame.merge_next = self._mergeable(event, value), False
        elif frame.key is None:
            self._take_key(frame, event, value)
        else:
            frame.fields[frame.key], frame.key = value, None

    def _take_key(self, frame: _Frame, event: Any, key: object) -> None:
        merges = key == "<<" and getattr(event, "implicit", (False,))[0]
        if not isinstance(key, str):
            raise self._error(event, "a key must be a text, put it in quotes")
        if key in frame.fields or (merges and frame.merged is not None):
            raise self._error(event, f"the key '{printable(key, 60)}' is there twice, keep one")
        frame.key, frame.merge_next = (None, True) if merges else (key, False)

    def _mergeable(self, event: Any, value: object) -> tuple[object, ...]:
        sources = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(source, dict) for source in sources):
            raise self._error(event, "'<<' takes a mapping or a list of mappings")
        return sources

    def _merge(self, frame: _Frame) -> dict[str, object]:
        for source in frame.merged if isinstance(frame.merged, tuple) else ():
            for key, value in source.items():
                frame.fields.setdefault(key, value)
        return frame.fields

    def _scalar(self, event: Any) -> object:
        if event.tag not in _STR_TAGS:
            raise self._error(event, f"the tag '{printable(event.tag, 60)}' is not allowed, remove it")
        if "\0" in event.value or any("\ud800" <= char <= "\udfff" for char in event.value):
            raise self._error(event, "the text holds a character that no program takes, remove it")
        return _plain(event.value) if event.tag is None and event.implicit[0] else event.value

    def _count(self, event: yaml.Event, weight: int) -> None:
        self._weight += weight
        if self._weight > MAX_WEIGHT:
            raise self._error(event, "the file is too large once its aliases are expanded, make it smaller")

    def _error(self, event: Any, sentence: str) -> ManifestError:
        mark = event.start_mark
        return ManifestError(f"{self._file}: line {mark.line + 1}, column {mark.column + 1}: {sentence}")


def _plain(text: str) -> object:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _syntax_message(file: str, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "it can not be read")
    advice = next((hint for part, hint in _HINTS if part in problem), "see docs/manifest for a complete example")
    return f"{file}: {where}not valid YAML ({printable(problem)}), {advice}"
