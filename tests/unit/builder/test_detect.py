"""Which buildpack an app gets, and the app's own Dockerfile."""

import pytest

from builder.buildpacks import plan_build
from runtime.errors import BuildError, SourceError
from runtime.model import AppSpec, Build, Dialect, Language, Process, ProcessKind
from tests.unit.builder.plans import STACK, Files, plan, spec, web
from tests.unit.builder.repository import Repository

START = '{"scripts": {"start": "x"}}'
BUILDS = '{"scripts": {"build": "x"}}'
BUILDS_AND_STARTS = '{"scripts": {"start": "x", "build": "x"}}'
TOOLS_ONLY = "[tool.ruff]\nline-length = 100\n"


@pytest.mark.parametrize(
    ("files", "command", "languages"),
    [
        ({"Dockerfile": "FROM x", "requirements.txt": "", "package.json": "{}"}, "x", ("dockerfile",)),
        ({"requirements.txt": ""}, "x", ("python 3.11",)),
        ({"pyproject.toml": "[project]\n"}, "x", ("python 3.11",)),
        ({"manage.py": ""}, "x", ("python 3.11",)),
        ({"jobs.py": ""}, "python jobs.py", ("python 3.11",)),
        ({"package.json": "{}"}, "x", ("node 22",)),
        ({"package.json": START, "index.html": ""}, None, ("node 22",)),
        ({"package.json": "{}", "server.js": ""}, None, ("node 22",)),
        ({"package.json": BUILDS_AND_STARTS, "index.html": ""}, None, ("node 22",)),
        ({"package.json": BUILDS, "index.html": ""}, None, ("static", "node 22")),
        ({"package.json": BUILDS}, None, ("static", "node 22")),
        ({"package.json": BUILDS}, "x", ("node 22",)),
        ({"package.json": "{}", "index.html": ""}, None, ("static",)),
        ({"package.json": "{}", "requirements.txt": ""}, "x", ("python 3.11", "node 22")),
        ({"package.json": "{}", "app.py": ""}, "x", ("node 22",)),
        ({"package.json": "{}", "pyproject.toml": TOOLS_ONLY}, "x", ("node 22",)),
        ({"index.html": ""}, None, ("static",)),
        ({"public/index.html": "", "README.md": ""}, None, ("static",)),
        ({"index.html": "", "app.py": ""}, "x", ("python 3.11",)),
        ({"index.html": "", "pyproject.toml": TOOLS_ONLY}, None, ("static",)),
    ],
)
def test_languages_are_found_by_files(files: dict[str, str], command: str | None, languages: tuple[str, ...]) -> None:
    assert plan(files, spec(process=web(command))).languages == languages


def test_nothing_to_find_names_what_was_looked_for() -> None:
    with pytest.raises(BuildError) as caught:
        plan({"README.md": ""})
    assert str(caught.value) == (
        "can't tell how to build this commit: it has no Dockerfile, no package.json, no requirements.txt or other "
        "sign of Python, and no index.html; commit one of them"
    )


def test_the_manifests_languages_count_more_than_the_files() -> None:
    wanted = spec(Build(languages=(Language.PYTHON,)))
    assert plan({"package.json": "{}", "Dockerfile": "FROM x"}, wanted).languages == ("python 3.11",)


def test_an_app_without_web_needs_no_command() -> None:
    worker = Process(name="worker", kind=ProcessKind.WORKER, command="python w.py")
    wanted = AppSpec(dialect=Dialect.PROCFILE, processes=(worker,))
    assert plan({"requirements.txt": ""}, wanted).command is None


def test_files_that_are_ignored_are_not_seen() -> None:
    files = {".slugignore": "package.json\n!x\n", "package.json": "{}", "requirements.txt": ""}
    found = plan(files)
    assert found.languages == ("python 3.11",)
    assert found.warnings == (".slugignore can't bring files back with '!': '!x' is not applied",)


@pytest.mark.parametrize("ignored", ["**/Dockerfile*", "Dockerfile", "*\n!index.html\n"])
def test_a_dockerfile_that_dockerignore_names_is_seen(ignored: str) -> None:
    files = {".dockerignore": ignored, "Dockerfile": "FROM x", "requirements.txt": "", "index.html": ""}
    assert plan(files, spec(process=web(None))).languages == ("dockerfile",)


def test_a_dockerfile_that_slugignore_names_is_not_seen() -> None:
    files = {".slugignore": "Dockerfile", ".dockerignore": "x", "Dockerfile": "FROM x", "requirements.txt": ""}
    assert plan(files).languages == ("python 3.11",)


def test_the_apps_own_dockerfile_is_used_as_it_is() -> None:
    text = "# syntax=x\nFROM scratch\nRUN $(anything)\n"
    build = Build(languages=(Language.DOCKERFILE,), steps=("make",))
    found = plan(
        {"Dockerfile": text, ".dockerignore": "Dockerfile"}, spec(build, env={"A": "x\n$y"}, process=web(None))
    )
    assert found.dockerfile == text
    assert found.args == {"A": "x\n$y"}
    assert found.languages == ("dockerfile",)
    assert found.command is None
    assert found.files == {}
    assert found.details == ("dockerfile: Dockerfile",)
    assert found.warnings == ("1 build step(s) of the manifest are not run: Dockerfile says how to build",)


def test_a_dockerfile_of_another_name() -> None:
    found = plan(
        {"deploy/web.Dockerfile": "FROM x", "requirements.txt": ""}, spec(Build(dockerfile="deploy/web.Dockerfile"))
    )
    assert found.dockerfile == "FROM x"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../Dockerfile", "'../Dockerfile' is not a path inside of the commit"),
        ("/Dockerfile", "'/Dockerfile' is not a path inside of the commit"),
        ("a//b", "'a//b' is not a path inside of the commit"),
        ("missing", "there is no missing in the commit: commit it, or correct its name in the manifest"),
    ],
)
def test_a_dockerfile_that_is_not_there(path: str, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        plan({"Dockerfile": "FROM x"}, spec(Build(dockerfile=path)))
    assert message in str(caught.value)


def test_a_dockerfile_has_a_limit() -> None:
    with pytest.raises(SourceError, match="'Dockerfile' is too large"):
        plan({"Dockerfile": "#" * 300_000})


def test_a_real_commit_gives_the_same_plan(repository: Repository) -> None:
    files = {"requirements.txt": "flask\n", "app.py": "", "web/package.json": "{}"}
    with repository.source(files) as source:
        assert plan_build(spec(), source, STACK, "lockstep-shop") == plan_build(
            spec(), Files(files), STACK, "lockstep-shop"
        )
