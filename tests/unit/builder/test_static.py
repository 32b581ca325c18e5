import json

import pytest

from builder.buildpacks.site import site_config
from runtime.errors import BuildError
from runtime.model import Build, CronJob, Language, StaticSite
from tests.unit.builder.plans import lines, plan, spec, web

STATIC = (Language.STATIC,)
NOTHING = web(None, port=None)
SERVE = """\
ENV PORT=8080 XDG_DATA_HOME=/tmp XDG_CONFIG_HOME=/tmp
USER app
CMD ["caddy", "run", "--config", "/etc/lockstep/site.json"]
"""
IMAGE = "FROM lockstep/static:1\nWORKDIR /app\nCOPY .lockstep/site.json /etc/lockstep/site.json\n"
PATH, SLASH = "{http.request.uri.path}", "{http.request.uri.path}/"


def test_a_committed_site_is_copied() -> None:
    found = plan({"index.html": "", "a.css": ""}, spec(process=NOTHING))
    assert found.dockerfile == f"{IMAGE}COPY ./ /site/\n{SERVE}"
    assert found.languages == ("static",)
    assert found.command == ("caddy", "run", "--config", "/etc/lockstep/site.json")
    assert found.files == {".lockstep/site.json": site_config(StaticSite())}
    assert found.details == ("static: index.html", "static: the root")


@pytest.mark.parametrize(
    ("files", "folder", "copied"),
    [
        (["index.html", "public/index.html", "out/index.html"], None, "public/"),
        (["build/index.html", "dist/index.html"], None, "dist/"),
        (["dist/app.js", "index.html"], None, "./"),
        (["www/a", "index.html"], "www", "www/"),
        (["www/a/b", "index.html"], "./www/a/", "www/a/"),
        (["a", "dist/index.html"], ".", "./"),
    ],
)
def test_which_folder_is_served(files: list[str], folder: str | None, copied: str) -> None:
    found = plan(dict.fromkeys(files, ""), spec(Build(languages=STATIC, static=StaticSite(folder=folder))))
    assert lines(found, "COPY ")[1] == f"COPY {copied} /site/"


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        (None, "there is no index.html in dist, build, public, out, _site or the root: commit one, or name its folder"),
        ("www", "the site's folder 'www' is not in the commit: commit it, or make it in a build step"),
        ("../www", "'../www' can't be the site's folder"),
        ("a b", "'a b' can't be the site's folder"),
    ],
)
def test_a_site_that_is_not_there(folder: str | None, message: str) -> None:
    with pytest.raises(BuildError) as caught:
        plan({"a": ""}, spec(Build(languages=STATIC, static=StaticSite(folder=folder))))
    assert message in str(caught.value)


def test_a_build_script_makes_the_site() -> None:
    files = {
        "package.json": '{"scripts": {"build": "vite build"}}',
        "package-lock.json": "",
        "public/x": "",
        "index.html": "",
    }
    found = plan(files, spec(process=NOTHING))
    install, build, pick = lines(found, "RUN")[1:]
    assert install.endswith(" npm ci --include=dev && mkdir -p node_modules")
    assert build == "RUN NODE_ENV=production npm run build"
    assert json.loads(pick.removeprefix("RUN "))[2] == (
        'for folder in dist build out _site public .; do if [ -f "$folder/index.html" ]; then '
        'rm -rf /app/node_modules && echo "the site is in $folder" && exec cp -a "$folder/." /site; fi; done; '
        "echo 'the build made no site: looked for index.html in dist, build, out, _site, public, .' >&2; exit 1"
    )
    assert found.dockerfile.partition("\n\n")[2] == f"{IMAGE}COPY --from=build /site /site\n{SERVE}"
    assert found.languages == ("static", "node 22")
    assert found.details[:2] == (
        "static: package.json has a build script and nothing to start",
        "static: made by the build script of package.json",
    )


def test_steps_make_the_site_in_a_named_folder() -> None:
    build = Build(languages=STATIC, steps=("./make-site",), static=StaticSite(folder="www"))
    found = plan({"make-site": ""}, spec(build, process=web(None, port=9000)))
    step, pick = lines(found, "RUN")
    assert step == 'RUN ["/bin/sh", "-c", "./make-site"]'
    assert 'for folder in www; do if [ -d "$folder" ]' in json.loads(pick.removeprefix("RUN "))[2]
    assert "ENV PORT=9000 XDG_DATA_HOME" in found.dockerfile
    assert found.languages == ("static",)


def test_steps_beside_a_package_json_get_the_node_it_asks_for() -> None:
    build = Build(languages=STATIC, steps=("npm ci", "npm run build"))
    found = plan({"package.json": '{"engines": {"node": "20"}}'}, spec(build))
    assert "node@20 npm@10" in found.dockerfile
    assert found.languages == ("static", "node 20")


def test_the_source_is_there_when_something_else_runs() -> None:
    cron = CronJob(name="tick", schedule="* * * * *", command="true")
    wanted = spec(Build(languages=STATIC)).model_copy(update={"crons": (cron,)})
    assert "COPY --chown=app:app . /app" in plan({"index.html": ""}, wanted).dockerfile


def config(site: StaticSite) -> dict[str, object]:
    found = json.loads(site_config(site))
    server: dict[str, object] = found["apps"]["http"]["servers"]["site"]
    return server


def test_the_server_is_closed_to_all_but_requests() -> None:
    found = json.loads(site_config(StaticSite()))
    assert found["admin"] == {"disabled": True, "config": {"persist": False}}
    server = config(StaticSite())
    assert server["listen"] == [":{env.PORT}"]
    assert server["automatic_https"] == {"disable": True}


FILES = {
    "handle": [
        {"handler": "encode", "encodings": {"gzip": {}, "zstd": {}}, "prefer": ["zstd", "gzip"]},
        {"handler": "file_server", "root": "/site"},
    ]
}
HIDDEN = {
    "match": [
        {
            "path_regexp": {"pattern": "/\\."},
            "not": [{"path_regexp": {"pattern": "^/\\.well-known(/[^./][^/]*)*/?$"}}],
        },
        {"path": ["/Procfile", "/Dockerfile", "/app.json"]},
    ],
    "handle": [{"handler": "error", "status_code": 404}],
}
PAGE = {
    "match": [
        {
            "file": {"root": "/site", "try_files": [f"{PATH}.html"]},
            "not": [{"file": {"root": "/site", "try_files": [PATH, SLASH]}}],
        }
    ],
    "handle": [{"handler": "rewrite", "uri": f"{PATH}.html"}],
}


def fallback(*kept: str) -> dict[str, object]:
    return {
        "match": [{"not": [{"file": {"root": "/site", "try_files": list(kept)}}]}],
        "handle": [{"handler": "rewrite", "uri": "/index.html"}],
    }


@pytest.mark.parametrize(
    ("spa", "routes"),
    [
        (None, [HIDDEN, PAGE, fallback(PATH, SLASH, "/404.html"), FILES]),
        (True, [HIDDEN, PAGE, fallback(PATH, SLASH), FILES]),
        (False, [HIDDEN, PAGE, FILES]),
    ],
)
def test_what_an_unknown_path_is_answered_with(spa: bool | None, routes: list[object]) -> None:
    server = config(StaticSite(spa=spa))
    assert server["routes"] == routes
    missing = {"expression": "{http.error.status_code} == 404", "file": {"root": "/site", "try_files": ["/404.html"]}}
    page = {"match": [missing], "handle": [{"handler": "rewrite", "uri": "/404.html"}]}
    assert server["errors"] == {"routes": [page, FILES]}


def test_headers_come_first() -> None:
    routes = config(StaticSite(headers={"/assets/*": {"Cache-Control": "max-age=60"}}))["routes"]
    assert isinstance(routes, list)
    assert routes[0] == {
        "match": [{"path": ["/assets/*"]}],
        "handle": [{"handler": "headers", "response": {"set": {"Cache-Control": ["max-age=60"]}, "deferred": True}}],
    }


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"assets": {"A": "b"}}, "header path 'assets' is not one: begin it with '/' or '\\*'"),
        ({"/": {"A b": "c"}}, "'A b' is not the name of a header"),
        ({"/": {"A": "b\r\nSet-Cookie: x"}}, "the value of header A must be one line of at most 4096 characters"),
    ],
)
def test_headers_that_are_none_are_refused(headers: dict[str, dict[str, str]], message: str) -> None:
    with pytest.raises(BuildError, match=message):
        site_config(StaticSite(headers=headers))
