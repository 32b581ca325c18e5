"""The configuration of the web server that serves a static site, as the JSON that Caddy takes."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from runtime.errors import BuildError
from runtime.model import StaticSite

ROOT: Final = "/site"
_PATTERN: Final = re.compile(r"[/*][!-~]{0,200}")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE: Final = re.compile(r"[\t -~\u0080-\uffff]{0,4096}")
_OWN: Final = ("/Procfile", "/Dockerfile", "/app.json")  # about the deploy, not of the site
_DOTFILE: Final = r"/\."
_WELL_KNOWN: Final = r"^/\.well-known(/[^./][^/]*)*/?$"

Route = dict[str, Any]


def site_config(site: StaticSite) -> bytes:
    """The configuration: it listens on $PORT and serves ROOT. Raises BuildError for headers that are none."""
    server = {
        "listen": [":{env.PORT}"],
        "automatic_https": {"disable": True},
        "routes": [*_headers(site), _hidden(), _index(), *_fallback(site), _files()],
        "errors": {"routes": [_error_page(), _files()]},
    }
    config = {
        "admin": {"disabled": True, "config": {"persist": False}},
        "apps": {"http": {"servers": {"site": server}}},
    }
    return (json.dumps(config, indent=2) + "\n").encode()


def _headers(site: StaticSite) -> list[Route]:
    routes = []
    for pattern, values in site.headers.items():
        if not _PATTERN.fullmatch(pattern):
            raise BuildError(f"header path '{pattern[:60]}' is not one: begin it with '/' or '*'")
        headers = {_header(name): [_value(name, value)] for name, value in values.items()}
        response = {"set": headers, "deferred": True}
        routes.append({"match": [{"path": [pattern]}], "handle": [{"handler": "headers", "response": response}]})
    return routes


def _header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise BuildError(f"'{name[:60]}' is not the name of a header: use letters, digits and hyphens")
    return name


def _value(name: str, value: str) -> str:
    if not _VALUE.fullmatch(value):
        raise BuildError(f"the value of header {name} must be one line of at most 4096 characters: correct it")
    return value


def _hidden() -> Route:
    """Dotfiles are answered as if they were not there, but for those below /.well-known."""
    dotfiles = {"path_regexp": {"pattern": _DOTFILE}, "not": [{"path_regexp": {"pattern": _WELL_KNOWN}}]}
    return {"match": [dotfiles, {"path": list(_OWN)}], "handle": [{"handler": "error", "status_code": 404}]}


def _index() -> Route:
    """A page without its ending: /about is about.html, unless there is a file or a folder of that name."""
    page = "{http.request.uri.path}.html"
    exact = ["{http.request.uri.path}", "{http.request.uri.path}/"]
    matcher = {"file": _tries(page), "not": [{"file": _tries(*exact)}]}
    return {"match": [matcher], "handle": [{"handler": "rewrite", "uri": page}]}


def _fallback(site: StaticSite) -> list[Route]:
    """Paths without a file answer index.html; when the site does not say so, unless it has a 404.html."""
    if site.spa is False:
        return []
    paths = ["{http.request.uri.path}", "{http.request.uri.path}/"]
    kept = _tries(*paths, "/404.html") if site.spa is None else _tries(*paths)
    return [{"match": [{"not": [{"file": kept}]}], "handle": [{"handler": "rewrite", "uri": "/index.html"}]}]


def _error_page() -> Route:
    missing = {"expression": "{http.error.status_code} == 404", "file": _tries("/404.html")}
    return {"match": [missing], "handle": [{"handler": "rewrite", "uri": "/404.html"}]}


def _tries(*paths: str) -> Route:
    return {"root": ROOT, "try_files": list(paths)}


def _files() -> Route:
    compress = {"handler": "encode", "encodings": {"gzip": {}, "zstd": {}}, "prefer": ["zstd", "gzip"]}
    return {"handle": [compress, {"handler": "file_server", "root": ROOT}]}
