"""The rooms and the walls between them, read from the source: imports, prints, and how long a thing may be."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
ROOMS: Final = ("runtime", "builder", "gitreceive")  # each may import itself and those before it
LONGEST_FILE: Final = 350  # lines
LONGEST_FUNCTION: Final = 60

# Files that were over the measure when the test was made, with the length they may not outgrow. To be split.
TOO_LONG: Final = {"runtime/model.py": 500}

PRINTS: Final = {"gitreceive/main.py": 1, "runtime/scheduler/__main__.py": 1}  # where a process says why it ends
SPEAK_HTTP: Final = {"runtime/engine/client.py", "runtime/router.py", "runtime/frontdoor.py", "runtime/alerts/post.py"}


def sources(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


def hooks() -> list[Path]:
    return sorted(path for path in (ROOT / "hooks").iterdir() if path.is_file())


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imported(path: Path) -> Iterator[str]:
    """The full names of all modules that a file imports, wherever in it: lazily and by name too."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} imports relatively"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            first = node.args[0]
            assert isinstance(first, ast.Constant), f"{name_of(path)}:{node.lineno} imports what can not be read"
            yield str(first.value)


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    above = set(ROOMS[ROOMS.index(room) + 1 :]) | {"scripts", "tests", "bench", "examples", "hooks"}
    wrong = [
        f"{name_of(path)} imports {module}"
        for path in sources(room)
        for module in imported(path)
        if module.split(".")[0] in above
    ]
    assert wrong == []


def test_hooks_import_only_the_standard_library() -> None:
    assert hooks()
    foreign = [
        f"{name_of(path)} imports {module}"
        for path in hooks()
        for module in imported(path)
        if module.split(".")[0] not in sys.stdlib_module_names
    ]
    assert foreign == []


def test_only_the_engine_client_and_three_others_speak_http() -> None:
    speaking = {name_of(path) for path in sources(*ROOMS) if any(m.split(".")[0] == "aiohttp" for m in imported(path))}
    assert speaking <= SPEAK_HTTP


def test_nobody_else_talks_to_docker() -> None:
    """No SDK, no docker program: the engine is asked through its API in one place."""
    sdk = [name_of(path) for path in sources(*ROOMS) if any(m.split(".")[0] == "docker" for m in imported(path))]
    words = [
        f"{name_of(path)}:{node.lineno}"
        for path in sources(*ROOMS)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and node.args and "subprocess" in ast.dump(node.func)
        for word in node.args[:1]
        if isinstance(word, ast.Constant) and word.value == "docker"
    ]
    assert sdk + words == []


def test_database_is_opened_in_one_place() -> None:
    opening = {
        name_of(path)
        for path in sources(*ROOMS)
        if any(module in ("sqlite3", "sqlalchemy.create_engine") for module in imported(path))
    }
    heartbeat = "runtime/scheduler/heartbeat.py"  # beats without waiting for other writers
    assert opening <= {"runtime/store/store.py", "runtime/store/migrations/env.py", heartbeat}


def test_nothing_prints() -> None:
    found = {
        name_of(path): count
        for path in [*sources(*ROOMS), *hooks()]
        if (count := sum(isinstance(node, ast.Call) and _is_print(node) for node in ast.walk(parsed(path))))
    }
    assert found == PRINTS


def _is_print(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Name) and node.func.id == "print"


def test_files_stay_short() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in [*sources(*ROOMS), *hooks()]}
    over = {name: length for name, length in lengths.items() if length > TOO_LONG.get(name, LONGEST_FILE)}
    assert over == {}


def test_list_of_long_files_holds_only_long_files() -> None:
    """A file that was split leaves the list, so that it can not grow again."""
    short = [name for name in TOO_LONG if len((ROOT / name).read_text().splitlines()) <= LONGEST_FILE]
    assert short == []


def test_functions_stay_short() -> None:
    long = [
        f"{name_of(path)}:{function.lineno} {function.name} has {length} lines"
        for path in [*sources(*ROOMS), *hooks()]
        for function in functions(path)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION
    ]
    assert long == []


def test_no_module_shadows_another_when_run_as_a_script() -> None:
    """`python runtime/x.py` puts runtime/ first on the path: a module named like a library would be taken for it."""
    libraries = {"types", "queue", "logging", "secrets", "signal", "select", "socket", "email", "http"}
    inner = {path.stem for room in ROOMS for path in (ROOT / room).rglob("*.py") if path.stem != "__init__"}
    assert inner & libraries <= {"secrets"}  # runtime.secrets is only ever imported by its full name
    assert not [
        name_of(p) for p in sources(*ROOMS) if 'if __name__ == "__main__"' in p.read_text() and p.stem != "__main__"
    ]
