import json
from collections.abc import Mapping

import pytest

from builder.buildpacks.node_version import node_wish
from runtime.errors import BuildError
from runtime.model import Build, Language
from tests.unit.builder.plans import Files, lines, plan, spec, web

RUNTIME = "/opt/node-runtime"
QUIET = "NPM_CONFIG_AUDIT=false NPM_CONFIG_FUND=false NPM_CONFIG_UPDATE_NOTIFIER=false"
NPM = "RUN --mount=type=cache,id=lockstep-shop-npm,target=/root/.npm"


def head(packages: str = "node@22 npm@10", settings: str = QUIET) -> str:
    return (
        "FROM lockstep/build:1 AS build\nENV HOME=/root\nWORKDIR /app\n"
        f"RUN npm install --prefix {RUNTIME} --no-audit --no-fund --no-update-notifier --cache /tmp/npm {packages} "
        f"&& rm -rf /tmp/npm {RUNTIME}/node_modules/node/node_modules && {RUNTIME}/node_modules/.bin/node --version\n"
        f"ENV PATH={RUNTIME}/node_modules/.bin:$PATH\nENV {settings}\n"
    )


RUN = f"\nFROM lockstep/run:1\nWORKDIR /app\nCOPY --from=build {RUNTIME} {RUNTIME}\n"
DIRECT = "COPY --from=build --chown=app:app /app/node_modules /app/node_modules\nCOPY --chown=app:app . /app\n"
BUILT = "COPY --from=build --chown=app:app /app /app\n"
ENV = f"ENV PATH=/app/node_modules/.bin:{RUNTIME}/node_modules/.bin:$PATH\nENV NODE_ENV=production {QUIET}\n"
TAIL = f"{ENV}USER app\n"
START = 'CMD ["npm", "start"]\n'


def package(**values: object) -> dict[str, str]:
    return {"package.json": json.dumps(values)}


def test_without_a_build_only_what_runs_is_installed() -> None:
    files = package(scripts={"start": "node ."}) | {"package-lock.json": "{}", ".npmrc": "", "index.js": ""}
    found = plan(files, spec(process=web(None)))
    assert found.dockerfile == (
        f"{head()}COPY package.json package-lock.json .npmrc ./\n"
        f"{NPM} npm ci --omit=dev && mkdir -p node_modules\n{RUN}{DIRECT}{TAIL}{START}"
    )
    assert found.command == ("npm", "start")
    assert found.languages == ("node 22",)
    assert (found.version_wanted, found.version_used) == (None, None)
    assert found.warnings == ()
    assert found.details == (
        "node 22: no version asked for",
        "node: package-lock.json, installed with npm@10",
        "web: 'npm start', as the manifest names no command",
    )


def test_a_build_script_runs_with_all_dependencies_and_leaves_what_runs() -> None:
    files = package(scripts={"build": "vite build", "start": "x"}, engines={"node": ">=20 <23"})
    found = plan(files, spec(process=web("node x"), env={"NODE_ENV": "production"}))
    assert found.dockerfile == (
        head("'node@>=20 <23' npm@10") + f"ENV NODE_ENV=production\nCOPY package.json ./\n"
        f"{NPM} npm install --no-package-lock --include=dev && mkdir -p node_modules\nCOPY . /app\n"
        f"RUN NODE_ENV=production npm run build\n{NPM} npm prune --omit=dev\n{RUN}{BUILT}{TAIL}{START}"
    )
    assert found.languages == ("node >=20 <23",)
    assert found.version_wanted == ">=20 <23"
    assert found.details == (
        "node >=20 <23: engines.node in package.json asks for '>=20 <23'",
        "node: package.json, installed with npm@10",
        "node: built by the 'build' script of package.json",
    )
    assert found.warnings == (
        "there is no lock file beside package.json: the versions of dependencies may change from build to build",
    )


def test_steps_take_the_place_of_the_build_script_and_keep_everything() -> None:
    build = Build(languages=(Language.NODE,), steps=("npm ci && npm run build",))
    found = plan(package(scripts={"build": "x"}) | {"package-lock.json": ""}, spec(build))
    assert found.dockerfile == (
        head(settings=f"{QUIET} NPM_CONFIG_INCLUDE=dev") + f"COPY package.json package-lock.json ./\n"
        f"{NPM} npm ci --include=dev && mkdir -p node_modules\nCOPY . /app\n"
        f'RUN ["/bin/sh", "-c", "npm ci && npm run build"]\n{RUN}{BUILT}{TAIL}'
    )


def test_python_and_node_together() -> None:
    files = package() | {"package-lock.json": "", "requirements.txt": "django", "manage.py": ""}
    found = plan(files)
    assert found.dockerfile == (
        f"{head()}RUN python3.11 -m venv /opt/venv\nENV PATH=/opt/venv/bin:$PATH\n"
        "ENV VIRTUAL_ENV=/opt/venv UV_PYTHON=3.11 UV_PYTHON_DOWNLOADS=never PIP_DISABLE_PIP_VERSION_CHECK=1 "
        "PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore\n"
        f"COPY package.json package-lock.json ./\n{NPM} npm ci --omit=dev && mkdir -p node_modules\n"
        "COPY requirements.txt ./\n"
        "RUN --mount=type=cache,id=lockstep-shop-pip,target=/root/.cache/pip pip install -r requirements.txt\n"
        f"{RUN}COPY --from=build /opt/venv /opt/venv\n{DIRECT}{ENV}ENV PATH=/opt/venv/bin:$PATH\n"
        "ENV VIRTUAL_ENV=/opt/venv PYTHONUNBUFFERED=1\nUSER app\n"
    )
    assert found.languages == ("python 3.11", "node 22")
    assert found.version_used == "3.11"
    assert found.command is None


def test_python_and_node_start_what_package_json_starts_when_nothing_else_is_named() -> None:
    files = package(scripts={"start": "x"}) | {"requirements.txt": ""}
    found = plan(files, spec(process=web(None)))
    assert found.command == ("npm", "start")
    assert found.details[-1] == "web: 'npm start', as the manifest names no command"


def test_node_that_is_asked_for_without_a_package_json_is_only_there() -> None:
    found = plan({"server.js": ""}, spec(Build(languages=(Language.NODE,)), process=web(None)))
    assert found.dockerfile == f'{head()}{RUN}COPY --chown=app:app . /app\n{TAIL}CMD ["node", "server.js"]\n'


@pytest.mark.parametrize(
    ("values", "more", "reason"),
    [
        ({"scripts": {"postinstall": "node setup.js"}}, {}, "the 'postinstall' script"),
        ({"scripts": {"prepare": "husky"}}, {}, "the 'prepare' script"),
        ({"workspaces": ["a"]}, {}, "workspaces"),
        ({"dependencies": {"x": "file:lib"}}, {}, "'x'"),
        ({"devDependencies": {"x": "../lib"}}, {}, "'x'"),
        ({}, {"pnpm-workspace.yaml": ""}, "workspaces"),
    ],
)
def test_installing_that_needs_the_source_comes_behind_it(
    values: Mapping[str, object], more: dict[str, str], reason: str
) -> None:
    found = plan(package(**values) | more)
    order = [line.split(" ")[0] for line in found.dockerfile.split("\n\n")[0].splitlines()]
    assert order[-2:] == ["COPY", "RUN"]
    assert lines(found, "COPY")[0] == "COPY . /app"
    assert f"node: the source comes first, for {reason}" in found.details


PNPM = "RUN --mount=type=cache,id=lockstep-shop-pnpm,target=/root/.pnpm-store"
YARN = "RUN --mount=type=cache,id=lockstep-shop-yarn,target=/root/.yarn-cache"
YARN_INSTALL = "yarn install --frozen-lockfile --cache-folder /root/.yarn-cache"


def test_pnpm() -> None:
    files = package(scripts={"build": "x"}) | {"pnpm-lock.yaml": "lockfileVersion: '6.0'\n"}
    found = plan(files)
    assert found.dockerfile.startswith(head("node@22 npm@10 pnpm@8"))
    assert lines(found, PNPM) == [
        f"{PNPM} pnpm install --frozen-lockfile --store-dir /root/.pnpm-store --prod=false && mkdir -p node_modules",
        f"{PNPM} CI=true npm_config_store_dir=/root/.pnpm-store pnpm prune --prod",
    ]


def test_yarn_1() -> None:
    files = package(scripts={"build": "x"}) | {"yarn.lock": "# yarn lockfile v1\n"}
    found = plan(files)
    assert found.dockerfile.startswith(head("node@22 npm@10 yarn@1"))
    assert lines(found, YARN) == [
        f"{YARN} {YARN_INSTALL} --production=false && mkdir -p node_modules",
        f"{YARN} {YARN_INSTALL} --production=true --ignore-scripts --prefer-offline",
    ]


@pytest.mark.parametrize(
    ("manager", "locks", "installed"),
    [
        (None, {"yarn.lock": "", "pnpm-lock.yaml": ""}, "yarn@1"),
        ("pnpm@9.1.2+sha512.abc", {"yarn.lock": "", "pnpm-lock.yaml": ""}, "pnpm@9.1.2"),
        ("pnpm@$(evil)", {"pnpm-lock.yaml": "lockfileVersion: 5.4\n"}, "pnpm@7"),
        ("pnpm@9.1.2", {"package-lock.json": ""}, "npm@10"),
        (None, {"package-lock.json": "", "yarn.lock": ""}, "npm@10"),
        (None, {"pnpm-lock.yaml": "lockfileVersion: '9.0'\n"}, "pnpm@9"),
    ],
)
def test_which_package_manager(manager: str | None, locks: dict[str, str], installed: str) -> None:
    found = plan(package(**({"packageManager": manager} if manager else {})) | locks)
    assert found.details[1].endswith(f"installed with {installed}")


@pytest.mark.parametrize(
    ("files", "asked", "where"),
    [
        ({".node-version": "v20.11.0\n", ".nvmrc": "18"}, "v20.11.0", ".node-version"),
        ({".nvmrc": "lts/iron"}, "20", ".nvmrc"),
        ({".nvmrc": "lts/*"}, "22", ".nvmrc"),
        ({".nvmrc": "node"}, "22", ".nvmrc"),
        (package(engines={"node": " ^18 ||  >=20.1.0 "}), "^18 || >=20.1.0", "engines.node in package.json"),
        (package(engines={"node": "18.x - 20.x"}), "18.x - 20.x", "engines.node in package.json"),
        (package(engines={"npm": "9"}), "22", ""),
        ({}, "22", ""),
    ],
)
def test_the_version_that_an_app_asks_for(files: dict[str, str], asked: str, where: str) -> None:
    wish = node_wish(Files(files), json.loads(files.get("package.json", "{}")))
    assert (wish.range, wish.where) == (asked, where)


@pytest.mark.parametrize(
    "version", ["22; rm -rf /", "$(id)", "file:evil", "latest2", "22\n23", "'", "2" * 101, 22, ["22"], ""]
)
def test_text_that_is_no_version_is_refused(version: object) -> None:
    with pytest.raises(BuildError, match="which is no version of node: write a range like '22' or '>=20'"):
        plan(package(engines={"node": version}))


def test_an_old_node_gets_an_old_npm() -> None:
    assert plan(package(engines={"node": "16"})).dockerfile.startswith(head("node@16 npm@8"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"package.json": "{"}, "package.json is not valid JSON: "),
        ({"package.json": "[]"}, "package.json must hold an object"),
        (package() | {"yarn.lock": "#\n\n__metadata:\n  version: 6\n"}, "yarn.lock is of yarn 2 or later"),
    ],
)
def test_what_can_not_be_built_is_told(files: dict[str, str], message: str) -> None:
    with pytest.raises(BuildError) as caught:
        plan(files)
    assert message in str(caught.value)


def test_committed_modules_are_warned_of() -> None:
    found = plan(package() | {"package-lock.json": "", "node_modules/a/index.js": ""})
    assert found.warnings == ("node_modules is committed and mixes with what is installed: remove it from the commit",)
