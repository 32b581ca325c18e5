"""Which languages an app is written in, when its manifest does not say."""

from __future__ import annotations

from typing import Final, NamedTuple

from builder.buildpacks import files
from builder.buildpacks.dockerfile import NAME as DOCKERFILE
from builder.buildpacks.node import PACKAGE, build_script, default_command
from builder.buildpacks.python import PYPROJECT, is_installable
from builder.buildpacks.static import INDEX, site_folder
from builder.model import Source
from runtime.errors import BuildError
from runtime.model import AppSpec, Language

_DEPENDENCIES: Final = ("requirements.txt", "uv.lock", "poetry.lock", "Pipfile", "setup.py")
_SIGNS: Final = (".python-version", "runtime.txt", "manage.py", "app.py", "main.py", "server.py", "wsgi.py", "asgi.py")


class Found(NamedTuple):
    """The languages of an app."""

    languages: tuple[Language, ...]
    details: tuple[str, ...] = ()  # what they were found by, where the languages' own details do not say it


def detect(spec: AppSpec, source: Source) -> Found:
    """The languages of an app. Raises BuildError, naming what was looked for, when there is none.

    A Dockerfile goes before all else. With files of Python and of Node it is both: Python for the
    processes, Node beside it, as for a Django site with a bundler. A package.json that only builds
    something is a static site when nothing says how to start a web process.
    """
    if spec.build.dockerfile or DOCKERFILE in source.paths():
        return Found((Language.DOCKERFILE,))
    python, node = _is_python(source), PACKAGE in source.paths()
    if python:
        return Found((Language.PYTHON, Language.NODE) if node else (Language.PYTHON,))
    return _node(spec, source) if node else _other(spec, source)


def _is_python(source: Source) -> bool:
    """Whether a file names Python dependencies."""
    paths = set(source.paths())
    return (PYPROJECT in paths and is_installable(source)) or any(name in paths for name in _DEPENDENCIES)


def _node(spec: AppSpec, source: Source) -> Found:
    web = spec.web
    if web is None or web.command or default_command(source):
        return Found((Language.NODE,))
    if build_script(files.json_object(source, PACKAGE)):
        return Found((Language.STATIC, Language.NODE), (f"static: {PACKAGE} has a build script and nothing to start",))
    if site_folder(source) is not None:
        return Found((Language.STATIC,), (f"static: {PACKAGE} has nothing to start, and there is an {INDEX}",))
    return Found((Language.NODE,))


def _other(spec: AppSpec, source: Source) -> Found:
    paths = set(source.paths())
    sign = next((name for name in _SIGNS if name in paths), None)
    folder = site_folder(source)
    if folder is not None and sign is None:
        return Found((Language.STATIC,), (f"static: {f'{folder}/' if folder else ''}{INDEX}",))
    if sign is not None or (spec.web and spec.web.command and any(path.endswith(".py") for path in paths)):
        return Found((Language.PYTHON,), (f"python: {sign or 'files that end in .py'}",))
    raise BuildError(
        f"can't tell how to build this commit: it has no {DOCKERFILE}, no {PACKAGE}, no {_DEPENDENCIES[0]} or other "
        f"sign of Python, and no {INDEX}; commit one of them"
    )
