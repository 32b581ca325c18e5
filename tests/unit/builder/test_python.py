import pytest

from builder.buildpacks.python_version import Wish, pick_python, python_wish
from builder.buildpacks.requirements import is_local, read_requirements
from builder.model import Stack
from runtime.errors import BuildError
from runtime.model import Build, Language
from tests.unit.builder.plans import STACK, Files, lines, plan, spec, web

PROJECT = '[project]\nname = "shop"\nversion = "1"\n'
SYSTEM = '[build-system]\nrequires = ["hatchling"]\n'
UNPACKAGED = SYSTEM + "[tool.poetry]\npackage-mode = false\n"
HEAD = """\
FROM lockstep/build:1 AS build
ENV HOME=/root
WORKDIR /app
RUN python3.11 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
ENV VIRTUAL_ENV=/opt/venv UV_PYTHON=3.11 UV_PYTHON_DOWNLOADS=never PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 \
PIP_ROOT_USER_ACTION=ignore
"""
TAIL = """\
ENV PATH=/opt/venv/bin:$PATH
ENV VIRTUAL_ENV=/opt/venv PYTHONUNBUFFERED=1
USER app
"""
DIRECT = "COPY --from=build /opt/venv /opt/venv\nCOPY --chown=app:app . /app\n"
BUILT = "COPY --from=build /opt/venv /opt/venv\nCOPY --from=build --chown=app:app /app /app\n"
RUN = "\nFROM lockstep/run:1\nWORKDIR /app\n"
PIP = "RUN --mount=type=cache,id=lockstep-shop-pip,target=/root/.cache/pip pip"


def test_requirements_come_in_front_of_the_source() -> None:
    found = plan({"requirements.txt": "flask\n-r reqs/more.txt\n", "reqs/more.txt": "gunicorn", "app.py": ""})
    assert found.dockerfile == (
        f"{HEAD}COPY requirements.txt ./\nCOPY reqs/more.txt reqs/\n"
        f"{PIP} install -r requirements.txt\n{RUN}{DIRECT}{TAIL}"
    )
    assert found.languages == ("python 3.11",)
    assert (found.version_wanted, found.version_used) == (None, "3.11")
    assert found.details == ("python: requirements.txt", "python 3.11: no version asked for")
    assert found.warnings == ()
    assert found.command is None
    assert found.files == {}


def test_requirements_that_refer_to_the_tree_come_behind_it() -> None:
    found = plan({"requirements.txt": "flask\n-e .\n", "setup.py": ""})
    assert found.dockerfile == f"{HEAD}COPY . /app\n{PIP} install -r requirements.txt\n{RUN}{BUILT}{TAIL}"
    assert "python: the source comes first, for '-e .'" in found.details


def test_steps_run_in_the_build_with_its_variables_and_leave_none() -> None:
    build = Build(languages=(Language.PYTHON,), steps=("python manage.py collectstatic", 'echo "$A" > b'))
    found = plan({"requirements.txt": "x"}, spec(build, env={"A": "1 $x", "PATH": "/evil", "B": "two\nlines"}))
    export = "export B='two\\nlines'; "
    pip = f'{PIP.removesuffix(" pip")} ["/bin/sh", "-c", "{export}pip install -r requirements.txt"]\n'
    steps = (
        f'RUN ["/bin/sh", "-c", "{export}python manage.py collectstatic"]\n'
        f'RUN ["/bin/sh", "-c", "{export}echo \\"$A\\" > b"]\n'
    )
    assert found.dockerfile == (
        f'{HEAD}ENV A="1 \\$x"\nCOPY requirements.txt ./\n{pip}COPY . /app\n{steps}{RUN}{BUILT}{TAIL}'
    )
    assert found.warnings == ("build variable PATH is not applied: the build needs its own",)


def test_steps_that_install_system_packages_are_warned_of() -> None:
    build = Build(languages=(Language.PYTHON,), steps=("true", "apt-get update && apt-get install -y ffmpeg"))
    warning = "build step 2 installs system packages, which do not reach the image that runs: use a Dockerfile"
    assert plan({}, spec(build)).warnings == (warning,)


def test_a_step_that_no_shell_can_be_given_is_refused() -> None:
    with pytest.raises(BuildError, match="build step 1 holds a character that no program can be given"):
        plan({}, spec(Build(languages=(Language.PYTHON,), steps=("a\0b",))))


UV_ENV = "ENV UV_PROJECT_ENVIRONMENT=/opt/venv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1\n"
UV = "RUN --mount=type=cache,id=lockstep-shop-uv,target=/root/.cache/uv uv sync --frozen --no-dev"


def test_uv_installs_the_project_behind_its_dependencies() -> None:
    found = plan({"pyproject.toml": PROJECT + SYSTEM, "uv.lock": "", "src/shop/__init__.py": ""})
    assert found.dockerfile == (
        f"{HEAD}{UV_ENV}COPY pyproject.toml uv.lock ./\n{UV} --no-install-project\n"
        f"COPY . /app\n{UV}\n{RUN}{BUILT}{TAIL}"
    )


def test_uv_with_a_project_that_is_no_package() -> None:
    found = plan({"pyproject.toml": PROJECT, "uv.lock": ""})
    assert found.dockerfile == f"{HEAD}{UV_ENV}COPY pyproject.toml uv.lock ./\n{UV}\n{RUN}{DIRECT}{TAIL}"


@pytest.mark.parametrize(
    "more", ['[tool.uv.sources]\nlib = {path = "lib"}\n', '[tool.uv.workspace]\nmembers = ["a"]\n']
)
def test_uv_with_parts_of_the_tree_gets_it_first(more: str) -> None:
    found = plan({"pyproject.toml": PROJECT + SYSTEM + more, "uv.lock": ""})
    assert found.dockerfile == f"{HEAD}{UV_ENV}COPY . /app\n{UV}\n{RUN}{BUILT}{TAIL}"


POETRY = (
    "RUN --mount=type=cache,id=lockstep-shop-poetry,target=/root/.cache/pypoetry "
    "poetry install --compile --no-interaction"
)
GET_POETRY = (
    "RUN UV_TOOL_DIR=/opt/poetry UV_TOOL_BIN_DIR=/usr/local/bin uv tool install --no-cache 'poetry>=2,<3'\n"
    "COPY pyproject.toml poetry.lock ./\n"
)


def test_poetry_installs_the_project_only_where_it_is_one() -> None:
    files = {"pyproject.toml": '[tool.poetry]\nname = "my-shop"\n', "poetry.lock": ""}
    assert plan(files).dockerfile == f"{HEAD}{GET_POETRY}{POETRY} --only main --no-root\n{RUN}{DIRECT}{TAIL}"
    assert plan({**files, "my_shop/__init__.py": ""}).dockerfile == (
        f"{HEAD}{GET_POETRY}{POETRY} --only main --no-root\nCOPY . /app\n{POETRY} --only-root\n{RUN}{BUILT}{TAIL}"
    )
    off = {**files, "my_shop/__init__.py": "", "pyproject.toml": "[tool.poetry]\npackage-mode = false\n"}
    assert "--only-root" not in plan(off).dockerfile


def test_pyproject_alone_has_its_dependencies_in_a_layer_of_their_own() -> None:
    found = plan({"pyproject.toml": PROJECT + "dependencies = [\"flask>=3 ; python_version > '3'\"]\n" + SYSTEM})
    assert found.dockerfile == (
        f"{HEAD}COPY .lockstep/requirements.txt .lockstep/\n{PIP} install -r .lockstep/requirements.txt\n"
        f"COPY . /app\n{PIP} install .\n{RUN}{BUILT}{TAIL}"
    )
    assert found.files == {".lockstep/requirements.txt": b'flask>=3; python_version > "3"\n'}
    assert found.warnings == ("there is no lock file: the versions of dependencies may change from build to build",)


@pytest.mark.parametrize(
    ("pyproject", "installs"),
    [
        (PROJECT, []),
        (PROJECT + 'dependencies = ["flask"]\n', ["install -r .lockstep/requirements.txt"]),
        (PROJECT + 'dynamic = ["dependencies"]\n' + SYSTEM, ["install ."]),
        (PROJECT + 'dependencies = ["a @ file:///app/a"]\n' + SYSTEM, ["install ."]),
    ],
)
def test_what_pyproject_makes_pip_install(pyproject: str, installs: list[str]) -> None:
    assert [line.removeprefix(f"{PIP} ") for line in lines(plan({"pyproject.toml": pyproject}), PIP)] == installs


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"Pipfile": ""},
            "Pipfile is not supported: run 'pipenv requirements > requirements.txt' and commit that file",
        ),
        (
            {"pyproject.toml": "[tool.poetry]\nname = 'x'\n"},
            "no lock file beside it: run 'poetry lock' and commit poetry.lock",
        ),
        (
            {"pyproject.toml": UNPACKAGED + "[tool.poetry.dependencies]\nflask = '*'\n"},
            "no lock file beside it: run 'poetry lock' and commit poetry.lock",
        ),
        ({"pyproject.toml": "[project\n"}, "pyproject.toml is not valid TOML: "),
        (
            {"pyproject.toml": PROJECT + 'dependencies = "flask"\n'},
            "project.dependencies in pyproject.toml must be a list",
        ),
        ({"pyproject.toml": PROJECT + 'dependencies = ["a b"]\n'}, "project.dependencies in pyproject.toml: "),
        (
            {"requirements.txt": "", ".python-version": "pypy3.9"},
            ".python-version asks for 'pypy3.9', which is no version",
        ),
        ({"requirements.txt": "", "runtime.txt": "$(evil)"}, "runtime.txt asks for '$(evil)', which is no version"),
    ],
)
def test_what_can_not_be_built_is_told(files: dict[str, str], message: str) -> None:
    with pytest.raises(BuildError) as caught:
        plan(files)
    assert message in str(caught.value)


def test_a_second_way_of_naming_dependencies_is_warned_of() -> None:
    found = plan({"requirements.txt": "x", "pyproject.toml": PROJECT, "uv.lock": ""})
    assert found.warnings == ("uv.lock is not used: requirements.txt names the dependencies",)


def test_an_app_without_dependencies_has_an_empty_venv() -> None:
    found = plan({"main.py": ""})
    assert found.dockerfile == f"{HEAD}{RUN}{DIRECT}{TAIL}"
    assert found.details[0] == "python: main.py"


def test_web_needs_a_command() -> None:
    with pytest.raises(BuildError, match="no command for web: add a Procfile with a line 'web: COMMAND'"):
        plan({"requirements.txt": ""}, spec(process=web(None)))


@pytest.mark.parametrize(
    ("files", "text", "where"),
    [
        ({".python-version": "# pyenv\n3.11.4\n3.9\n", "runtime.txt": "python-3.9.1"}, "3.11", ".python-version"),
        ({"runtime.txt": "python-3.9.18\n"}, "3.9", "runtime.txt"),
        ({".python-version": "3"}, "3", ".python-version"),
        ({".python-version": "\ufeffcpython@3.12"}, "3.12", ".python-version"),
        ({"pyproject.toml": "[project]\nrequires-python = '>=3.10'"}, ">=3.10", "requires-python in pyproject.toml"),
    ],
)
def test_the_version_that_an_app_asks_for(files: dict[str, str], text: str, where: str) -> None:
    wish = python_wish(Files(files))
    assert wish is not None
    assert (wish.text, wish.where) == (text, where)


def test_no_version_and_a_wrong_one() -> None:
    assert python_wish(Files({".python-version": "\n"})) is None
    for wrong in ("'newest'", "3", "['>=3']"):
        with pytest.raises(BuildError, match=r"write a range like '>=3\.11'"):
            python_wish(Files({"pyproject.toml": f"[project]\nrequires-python = {wrong}"}))


def asked(where: str, text: str) -> Wish:
    key = {".python-version": text, "pyproject.toml": f"[project]\nrequires-python = '{text}'"}
    wish = python_wish(Files({where: key[where]}))
    assert wish is not None
    return wish


@pytest.mark.parametrize(
    ("where", "text", "pythons", "used", "warned"),
    [
        (".python-version", "3.11", ("3.11",), "3.11", False),
        (".python-version", "3.11.9", ("3.10", "3.11"), "3.11", False),
        (".python-version", "3", ("3.9", "3.11"), "3.11", False),
        (".python-version", "3.9", ("3.11",), "3.11", True),
        (".python-version", "3.9", ("3.8", "3.10", "3.11"), "3.10", True),
        ("pyproject.toml", ">=3.9", ("3.9", "3.11"), "3.11", False),
        ("pyproject.toml", ">=3.11.4", ("3.11",), "3.11", False),
        ("pyproject.toml", ">=3.8,<3.11", ("3.9", "3.10", "3.11"), "3.10", False),
        ("pyproject.toml", "~=3.10.2", ("3.9", "3.11", "3.12"), "3.11", True),
        ("pyproject.toml", "<3.10", ("3.11",), "3.11", True),
        ("pyproject.toml", "!=3.10.*", ("3.9", "3.10"), "3.9", False),
    ],
)
def test_the_version_that_an_app_gets(where: str, text: str, pythons: tuple[str, ...], used: str, warned: bool) -> None:
    pick = pick_python(asked(where, text), pythons)
    assert (pick.used, pick.warning is not None) == (used, warned)


def test_the_warning_names_both_versions() -> None:
    found = plan({"requirements.txt": "", ".python-version": "3.8"})
    assert found.warnings == (
        "python 3.8 (.python-version) is not in the stack: built with 3.11, the nearest newer one",
    )
    assert (found.version_wanted, found.version_used) == ("3.8", "3.11")


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (".python-version", "3.13"),
        (".python-version", "2.7"),
        ("pyproject.toml", ">=3.12"),
        ("pyproject.toml", "<3,>=4"),
    ],
)
def test_no_version_in_the_stack(where: str, text: str) -> None:
    with pytest.raises(
        BuildError, match=r"is not in the stack, whose newest is 3\.11: ask for that one, or use a Dockerfile"
    ):
        pick_python(asked(where, text), ("3.9", "3.11"))


def test_a_stack_with_another_python_uses_it() -> None:
    stack = Stack(run=STACK.run, build=STACK.build, static=STACK.static, pythons=("3.11", "3.13"))
    assert "RUN python3.13 -m venv /opt/venv" in plan({"requirements.txt": ""}, stack=stack).dockerfile


@pytest.mark.parametrize(
    "line",
    [
        "-e .", "-e ./lib", "--editable=lib", ".", "./lib", "../lib", "/app/lib", "lib/", "file:///app/x",
        "a @ file:lib",
        "wheels/a-1-py3-none-any.whl", "a-1.tar.gz", "a.zip ; python_version > '3'", "-f wheels",
        "--find-links ./wheels",
    ],
)  # fmt: skip
def test_lines_that_need_the_tree(line: str) -> None:
    assert is_local(line)


@pytest.mark.parametrize(
    "line",
    [
        "flask", "flask==3.0 --hash=sha256:abc", "flask[async]>=2,<4 ; sys_platform == 'linux'  # a/b",
        "--no-binary :all:",
        "-e git+https://example.org/a/b.git#egg=c", "a @ https://example.org/a.whl", "https://example.org/a.tar.gz",
        "--index-url https://example.org/simple", "-i https://example.org/simple",
        "-f https://example.org/w/", "--pre",
        "a[b,c] @ git+ssh://git@example.org/a/b", "git+https://example.org/x.git@main",
    ],
)  # fmt: skip
def test_lines_that_do_not(line: str) -> None:
    assert not is_local(line)


def test_includes_are_followed_and_bounded() -> None:
    files = {
        "requirements.txt": "-r reqs/a.txt\n--requirement=b.txt\n-c https://example.org/c.txt\n-r missing.txt\n",
        "reqs/a.txt": "-c b.txt\n# -e .\nx \\\n  --hash=sha256:1\n",
        "reqs/b.txt": "-r a.txt",
        "b.txt": "",
    }
    found = read_requirements(Files(files), "requirements.txt")
    assert found == (("requirements.txt", "reqs/a.txt", "b.txt", "reqs/b.txt"), None)
    many = {f"{number}.txt": f"-r {number + 1}.txt" for number in range(60)}
    assert read_requirements(Files(many), "0.txt").local == "50.txt"
    odd = {"requirements.txt": "-r a$b.txt", "a$b.txt": ""}
    assert read_requirements(Files(odd), "requirements.txt").local == "a$b.txt"
