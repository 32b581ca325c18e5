"""Which files stay out of the build: `.dockerignore` as Docker reads it, `.slugignore` as Heroku does.

Patterns come from a push, so they are not made into regular expressions, which can take for ever:
all patterns of a file run side by side as one automaton, a bit per place in a pattern, whose states
are made when they are first met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from builder.globs import Glob, Token, docker_glob, slug_glob
from builder.model import MANIFEST_LIMIT, Source
from runtime.errors import SourceError

DOCKERIGNORE: Final = ".dockerignore"
SLUGIGNORE: Final = ".slugignore"
_READ_ALWAYS: Final = ("!Dockerfile", f"!{DOCKERIGNORE}")  # Docker reads them whatever .dockerignore says
GlobParser = Callable[[str], Glob | None]
_SIZE_LIMIT: Final = 16_384  # places of all patterns of one file
_STATE_LIMIT: Final = 20_000  # states that are remembered


class _State:
    """A set of places, and what is known to follow from it."""

    __slots__ = ("file", "folder", "next", "places")

    def __init__(self, places: int, file: int, folder: int) -> None:
        self.places = places
        self.file = file  # the patterns that end here, when a file's path does
        self.folder = folder  # the same for a folder's
        self.next: dict[str, _State] = {}


class Patterns:
    """The patterns of one file; the last one that matches a path or a folder above it decides."""

    def __init__(self, globs: Iterable[Glob]) -> None:
        self._tokens: list[Token | None] = []  # None where a pattern ends
        self._file_ends = self._folder_ends = self._leaves_out = start = 0
        for glob in globs:
            start |= 1 << len(self._tokens)
            self._tokens += [*glob.tokens, None]
            end = 1 << (len(self._tokens) - 1)
            self._folder_ends |= end
            self._file_ends |= 0 if glob.folders_only else end
            self._leaves_out |= 0 if glob.negated else end
        self._skips = self._bits(lambda token: 1 in token.skips), self._bits(lambda token: 2 in token.skips)
        self._masks: dict[str, tuple[int, int]] = {}
        self._states: dict[int, _State] = {}
        self._folders: dict[str, tuple[_State, int]] = {"": (self._state(start), 0)}

    @property
    def empty(self) -> bool:
        return not self._tokens

    def ignores(self, path: str) -> bool:
        """Whether the file or symlink `path` is left out."""
        folder, _, name = path.rpartition("/")
        state, ended = self._entered(folder)
        ended |= self._run(state, name).file
        return bool(self._leaves_out >> (ended.bit_length() - 1) & 1) if ended else False

    def _entered(self, folder: str) -> tuple[_State, int]:
        """The state behind `folder/`, and the patterns that have ended with it or a folder above."""
        known = self._folders.get(folder)
        if known is None:
            above, _, name = folder.rpartition("/")
            state, ended = self._entered(above)
            state = self._run(state, name)
            known = self._folders[folder] = (self._run(state, "/"), ended | state.folder)
        return known

    def _run(self, state: _State, text: str) -> _State:
        for char in text:
            state = state.next.get(char) or self._step(state, char)
        return state

    def _step(self, state: _State, char: str) -> _State:
        masks = self._masks.get(char)
        if masks is None:
            masks = self._masks[char] = (
                self._bits(lambda token: token.moves(char)),
                self._bits(lambda token: token.stays(char)),
            )
        moves, stays = masks
        following = self._state((state.places & moves) << 1 | (state.places & stays))
        state.next[char] = following
        return following

    def _state(self, places: int) -> _State:
        """The state of these places and of those that are reached from them without a character."""
        before = -1
        while before != places:
            before = places
            places |= (places & self._skips[0]) << 1 | (places & self._skips[1]) << 2
        known = self._states.get(places)
        if known is None:
            if len(self._states) >= _STATE_LIMIT:
                self._forget()
            known = self._states[places] = _State(places, places & self._file_ends, places & self._folder_ends)
        return known

    def _forget(self) -> None:
        for state in self._states.values():
            state.next.clear()
        self._states.clear()

    def _bits(self, holds: Callable[[Token], bool]) -> int:
        return sum(1 << place for place, token in enumerate(self._tokens) if token is not None and holds(token))


class Rules:
    """What the ignore files of a source say about its paths."""

    def __init__(self, lists: Iterable[Patterns] = (), warnings: tuple[str, ...] = ()) -> None:
        self._lists = tuple(lists)
        self.warnings = warnings

    def ignores(self, path: str) -> bool:
        """Whether the file or symlink `path` stays out."""
        return any(patterns.ignores(path) for patterns in self._lists)


def ignore_rules(source: Source) -> Rules:
    """The rules in the root of `source`. Raises SourceError, naming file and line, for a pattern that is wrong.

    `.dockerignore` leaves out neither itself nor the Dockerfile.
    """
    docker = _globs(DOCKERIGNORE, source, docker_glob)
    if docker:
        docker += [glob for line in _READ_ALWAYS if (glob := docker_glob(line)) is not None]
    slug = _globs(SLUGIGNORE, source, slug_glob)
    negated = [glob for glob in slug if glob.negated]
    warnings = tuple(f"{SLUGIGNORE} can't bring files back with '!': '{glob.text}' is not applied" for glob in negated)
    lists = [Patterns(docker), Patterns([glob for glob in slug if not glob.negated])]
    return Rules([patterns for patterns in lists if not patterns.empty], warnings)


def _globs(name: str, source: Source, parse: GlobParser) -> list[Glob]:
    lines = (source.read(name, MANIFEST_LIMIT) or b"").decode("utf-8-sig", "replace").splitlines()
    globs = []
    for number, line in enumerate(lines, 1):
        try:
            glob = parse(line)
        except ValueError as error:
            raise SourceError(f"{name} line {number}: {error}") from None
        globs += [glob] if glob else []
    if sum(len(glob.tokens) + 1 for glob in globs) > _SIZE_LIMIT:
        raise SourceError(f"{name} is too long: keep its patterns below {_SIZE_LIMIT} characters")
    return globs


class Visible:
    """A source without the files that its ignore files leave out."""

    def __init__(self, source: Source, rules: Rules) -> None:
        self._source = source
        self._rules = rules
        self._paths = tuple(path for path in source.paths() if not rules.ignores(path))

    def paths(self) -> tuple[str, ...]:
        return self._paths

    def read(self, path: str, limit: int = MANIFEST_LIMIT) -> bytes | None:
        return None if self._rules.ignores(path) else self._source.read(path, limit)

    def below(self, root: str) -> Source:
        raise SourceError(f"ask the whole commit for '{root}': its ignore files are read from there")
