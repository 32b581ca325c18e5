"""`Procfile`, as Heroku and Dokku read it: one `type: command` per line."""

from __future__ import annotations

import re
from typing import Final

from builder.manifest import fields
from builder.manifest.check import refused
from builder.manifest.document import printable, text_of
from builder.model import Source
from runtime.layer import RELEASE_TIMEOUT
from runtime.model import WEB, AppSpec, Dialect, Health, Hook, Manifest, Process, ProcessKind, Shell

FILE: Final = Dialect.PROCFILE.value
RELEASE: Final = "release"
PORT: Final = 5000
GRACE: Final = 30.0  # seconds, as on Heroku

_LINE: Final = re.compile(r"([A-Za-z0-9_-]+)[ \t]*:[ \t]*(.*)")


def read_procfile(source: Source) -> Manifest:
    """The manifest of a commit whose only manifest is a Procfile. Raises ManifestError, SourceError."""
    types = entries(source)
    workers = [name for name in types if name not in (WEB, RELEASE)]
    spec = AppSpec(
        dialect=Dialect.PROCFILE,
        processes=(*_web(types), *(_worker(name, types[name]) for name in workers)),
        hooks=_hooks(types),
    )
    return Manifest(spec=spec, warnings=_warnings(types, workers))


def entries(source: Source) -> dict[str, str]:
    """Process type -> command of the commit's Procfile, {} when it has none. Raises ManifestError, SourceError."""
    raw = source.read(FILE)
    return {} if raw is None else parse(text_of(FILE, raw))


def parse(text: str) -> dict[str, str]:
    """Process type -> command. Raises ManifestError that lists every line that is wrong."""
    types: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        try:
            _take(line.strip(), types)
        except ValueError as error:
            problems.append(f"{FILE}: line {number}: {printable(str(error))}")
    if not types and not problems:
        problems.append(f"{FILE}: the file has no line such as 'web: command', add one or remove the file")
    if len(types) > fields.MAX_JOBS:
        problems.append(f"{FILE}: has {len(types)} process types, at most {fields.MAX_JOBS} are allowed")
    if problems:
        raise refused(FILE, problems)
    return types


def _take(line: str, types: dict[str, str]) -> None:
    if not line or line.startswith(("#", "//")):
        return
    match = _LINE.fullmatch(line)
    if not match:
        raise ValueError(f"expected 'type: command', got '{line[:60]}'")
    name = match[1] if match[1] == WEB else fields.job_name(match[1])
    if name in types:
        raise ValueError(f"the type '{name}' is there twice, keep one")
    if "\0" in match[2]:
        raise ValueError("the command holds a character that no program takes, remove it")
    types[name] = fields.command(_without_comment(match[2]))


def _without_comment(text: str) -> str:
    """`text` up to a '#' that begins a word outside of quotes, as the shell sees it."""
    quote, skip = "", False
    for index, char in enumerate(text):
        if skip:
            skip = False
        elif char == "\\" and quote != "'":
            skip = True
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "#" and (index == 0 or text[index - 1].isspace()):
            return text[:index].rstrip()
    return text


def _web(types: dict[str, str]) -> tuple[Process, ...]:
    if WEB not in types:
        return ()
    web = Process(
        name=WEB,
        kind=ProcessKind.WEB,
        command=types[WEB],
        shell=Shell.BASH,
        port=PORT,
        health=Health(),
        grace=GRACE,
    )
    return (web,)


def _worker(name: str, command: str) -> Process:
    return Process(name=name, kind=ProcessKind.WORKER, command=command, shell=Shell.BASH, grace=GRACE)


def _hooks(types: dict[str, str]) -> tuple[Hook, ...]:
    if RELEASE not in types:
        return ()
    return (Hook(name=RELEASE, command=types[RELEASE], shell=Shell.BASH, timeout=RELEASE_TIMEOUT),)


def _warnings(types: dict[str, str], workers: list[str]) -> tuple[str, ...]:
    found = []
    if WEB not in types:
        found.append(f"{FILE}: there is no 'web' line, so the app answers no requests")
    if workers:
        found.append(f"{FILE}: {', '.join(workers)}: worker types start with 1 replica here, not with 0 as on Heroku")
    return tuple(found)
