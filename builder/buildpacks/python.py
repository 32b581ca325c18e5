"""Python: the dependencies in a venv at /opt/venv, from whichever file names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from builder import dockerfile
from builder.buildpacks import files
from builder.buildpacks.part import Part
from builder.buildpacks.python_version import pick_python, python_wish
from builder.buildpacks.requirements import read_requirements
from builder.dockerfile import OURS, Cache, Run
from builder.model import Source, Stack
from runtime.errors import BuildError

VENV: Final = "/opt/venv"
REQUIREMENTS: Final = "requirements.txt"
PYPROJECT: Final = "pyproject.toml"
LISTED: Final = f"{OURS}/requirements.txt"  # what pyproject.toml names, so that a change of code leaves its layer
POETRY: Final = "poetry>=2,<3"
_SETTINGS: Final = {
    "UV_PYTHON_DOWNLOADS": "never",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_ROOT_USER_ACTION": "ignore",
}


def python_part(source: Source, stack: Stack, scope: str) -> Part:
    """The Python of an app. Raises BuildError when the version or the way of naming dependencies is not supported."""
    wish = python_wish(source)
    pick = pick_python(wish, stack.pythons)
    part = _dependencies(source)(source, scope)
    asked = (
        f"python {pick.used}: {wish.where} asks for {wish.text}"
        if wish
        else f"python {pick.used}: no version asked for"
    )
    return replace(
        part,
        language=f"python {pick.used}",
        tools=(Run(f"python{pick.used} -m venv {VENV}"), *_environment(pick.used), *part.tools),
        products=(VENV,),
        run=(dockerfile.path(f"{VENV}/bin"), dockerfile.env({"VIRTUAL_ENV": VENV, "PYTHONUNBUFFERED": "1"})),
        version_wanted=wish.text if wish else None,
        version_used=pick.used,
        details=(*part.details, asked),
        warnings=(*([pick.warning] if pick.warning else []), *part.warnings),
    )


def is_installable(source: Source) -> bool:
    """Whether pyproject.toml is about a Python project, not only about its tools."""
    found = files.toml(source, PYPROJECT)
    return "project" in found or "build-system" in found or bool(files.table(found, "tool", "poetry"))


def _environment(version: str) -> tuple[str, ...]:
    settings = {"VIRTUAL_ENV": VENV, "UV_PYTHON": version, **_SETTINGS}
    return dockerfile.path(f"{VENV}/bin"), dockerfile.env(settings)


def _dependencies(source: Source) -> Callable[[Source, str], Part]:
    """How this app names its dependencies; the first that is there counts."""
    paths = set(source.paths())
    if REQUIREMENTS in paths:
        return _requirements
    if {PYPROJECT, "uv.lock"} <= paths:
        return _uv
    if {PYPROJECT, "poetry.lock"} <= paths:
        return _poetry
    if PYPROJECT in paths and is_installable(source):
        return _pyproject
    if "setup.py" in paths:
        return _setup
    if "Pipfile" in paths:
        raise BuildError(
            "Pipfile is not supported: run 'pipenv requirements > requirements.txt' and commit that file beside it"
        )
    return _nothing


def _requirements(source: Source, scope: str) -> Part:
    found = read_requirements(source, REQUIREMENTS)
    unused = [name for name in ("uv.lock", "poetry.lock", "Pipfile") if name in source.paths()]
    local = (f"python: the source comes first, for '{found.local[:100]}'",) if found.local else ()
    return Part(
        language="python",
        wants=found.paths,
        install=(Run(f"pip install -r {REQUIREMENTS}", _pip(scope)),),
        source_first=bool(found.local),
        details=(f"python: {REQUIREMENTS}", *local),
        warnings=tuple(f"{name} is not used: {REQUIREMENTS} names the dependencies" for name in unused),
    )


def _uv(source: Source, scope: str) -> Part:
    pyproject = files.toml(source, PYPROJECT)
    uv = files.table(pyproject, "tool", "uv")
    local = "workspace" in uv or any(_is_path(entry) for entry in files.table(uv, "sources").values())
    packaged = uv.get("package", "build-system" in pyproject) is True
    settings = {"UV_PROJECT_ENVIRONMENT": VENV, "UV_LINK_MODE": "copy", "UV_COMPILE_BYTECODE": "1"}
    sync = "uv sync --frozen --no-dev"
    cache = dockerfile.cache(scope, "uv", "/root/.cache/uv")
    return Part(
        language="python",
        tools=(dockerfile.env(settings),),
        wants=(PYPROJECT, "uv.lock"),
        install=(Run(sync if local or not packaged else f"{sync} --no-install-project", cache),),
        source_first=local,
        after=(Run(sync, cache),) if packaged and not local else (),
        details=("python: uv.lock",),
    )


def _is_path(entry: Any) -> bool:
    return isinstance(entry, dict) and ("path" in entry or "workspace" in entry)


def _poetry(source: Source, scope: str) -> Part:
    poetry = files.table(files.toml(source, PYPROJECT), "tool", "poetry")
    install = "poetry install --compile --no-interaction"
    cache = dockerfile.cache(scope, "poetry", "/root/.cache/pypoetry")
    installed = f"UV_TOOL_DIR=/opt/poetry UV_TOOL_BIN_DIR=/usr/local/bin uv tool install --no-cache '{POETRY}'"
    return Part(
        language="python",
        tools=(Run(installed),),
        wants=(PYPROJECT, "poetry.lock"),
        install=(Run(f"{install} --only main --no-root", cache),),
        source_first=_has_path_dependency(poetry),
        after=(Run(f"{install} --only-root", cache),) if _is_package(source, poetry) else (),
        details=("python: poetry.lock",),
    )


def _has_path_dependency(poetry: dict[str, Any]) -> bool:
    groups = [poetry, *files.table(poetry, "group").values()]
    listed = [files.table(group, "dependencies") for group in groups if isinstance(group, dict)]
    return any(isinstance(entry, dict) and "path" in entry for names in listed for entry in names.values())


def _is_package(source: Source, poetry: dict[str, Any]) -> bool:
    """Whether poetry finds a package to install: many apps have none, and say so nowhere."""
    if poetry.get("package-mode", True) is not True:
        return False
    name = poetry.get("name") or files.table(files.toml(source, PYPROJECT), "project").get("name")
    module = canonicalize_name(str(name)).replace("-", "_")
    places = (f"{module}/", f"src/{module}/", f"{module}.py", f"src/{module}.py")
    return "packages" in poetry or any(path.startswith(places) for path in source.paths())


def _pyproject(source: Source, scope: str) -> Part:
    pyproject = files.toml(source, PYPROJECT)
    listed = _listed(files.table(pyproject, "project"))
    poetry = files.table(pyproject, "tool", "poetry")
    packaged = "build-system" in pyproject and poetry.get("package-mode", True) is True
    if not packaged and "project" not in pyproject:
        raise BuildError(
            f"{PYPROJECT} is poetry's and has no lock file beside it: run 'poetry lock' and commit poetry.lock"
        )
    return Part(
        language="python",
        wants=(LISTED,) if listed else (),
        install=(Run(f"pip install -r {LISTED}", _pip(scope)),) if listed else (),
        after=(Run("pip install .", _pip(scope)),) if packaged or listed is None else (),
        files={LISTED: "".join(f"{line}\n" for line in listed).encode()} if listed else {},
        details=(f"python: {PYPROJECT}",),
        warnings=("there is no lock file: the versions of dependencies may change from build to build",),
    )


def _listed(project: dict[str, Any]) -> list[str] | None:
    """The dependencies that can be installed without the source, None when only a build can tell them."""
    if "dependencies" in project.get("dynamic", ()):
        return None
    lines = project.get("dependencies", [])
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise BuildError(f"project.dependencies in {PYPROJECT} must be a list of strings: correct it")
    try:
        found = [Requirement(line) for line in lines]
    except InvalidRequirement as error:
        raise BuildError(f"project.dependencies in {PYPROJECT}: {str(error).splitlines()[0]}") from None
    return None if any((line.url or "").startswith("file:") for line in found) else [str(line) for line in found]


def _setup(source: Source, scope: str) -> Part:
    return Part(language="python", after=(Run("pip install .", _pip(scope)),), details=("python: setup.py",))


def _nothing(source: Source, scope: str) -> Part:
    return Part(language="python", details=("python: no file names dependencies",))


def _pip(scope: str) -> Cache:
    return dockerfile.cache(scope, "pip", "/root/.cache/pip")
