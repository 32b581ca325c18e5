"""The router's config and container, compared whole; the same values that Caddy is given."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime import routes
from runtime.parts import hosts_of, route_of, routes_of
from runtime.router import Answer
from runtime.routes import Route
from runtime.store import Store
from tests.unit.runtime import samples
from tests.unit.runtime.samples import NOW, release, web, worker

SHOP = Route("shop", ("shop.example.org", "www.example.org"), "lockstep-shop-web-v3", 5000)
NOBODY = {"handler": "static_response", "status_code": 404, "body": "no app answers to this host name\n"}
SHOP_ROUTE = {
    "@id": "app-shop",
    "match": [{"host": ["shop.example.org", "www.example.org"]}],
    "handle": [
        {
            "handler": "subroute",
            "routes": [
                {
                    "match": [{"file": {"root": "/run/lockstep/live/shop", "try_files": ["*", "*", "*"]}}],
                    "handle": [
                        {
                            "handler": "map",
                            "source": "{http.matchers.file.relative}",
                            "destinations": ["{lockstep.service}", "{lockstep.port}"],
                            "mappings": [{"input_regexp": "^/?(.+)@([0-9]+)$", "outputs": ["${1}", "${2}"]}],
                        },
                        {
                            "handler": "reverse_proxy",
                            "dynamic_upstreams": {
                                "source": "a",
                                "name": "tasks.{lockstep.service}",
                                "port": "{lockstep.port}",
                                "refresh": "500ms",
                            },
                            "load_balancing": {"try_duration": "5s", "try_interval": "100ms"},
                            "health_checks": {"passive": {"fail_duration": "2s"}},
                            "transport": {"protocol": "http", "dial_timeout": "500ms"},
                        },
                    ],
                },
                {"handle": [NOBODY]},
            ],
        }
    ],
    "terminal": True,
}
ENCODER = {
    "format": "filter",
    "wrap": {"format": "json", "time_format": "rfc3339_nano"},
    "fields": {
        "request>uri": {"filter": "regexp", "regexp": "[?#].*", "value": ""},
        "request>headers": {"filter": "delete"},
        "request>remote_ip": {"filter": "delete"},
        "request>remote_port": {"filter": "delete"},
        "request>tls": {"filter": "delete"},
        "resp_headers": {"filter": "delete"},
        "user_id": {"filter": "delete"},
    },
}
LAST = {"@id": "nobody", "handle": [NOBODY]}


def test_one_route() -> None:
    assert routes.route(SHOP) == SHOP_ROUTE


def test_whole_configuration() -> None:
    assert routes.configuration((SHOP,)) == {
        "admin": {
            "listen": "unix//run/lockstep/admin.sock",
            "origins": ["localhost"],
            "config": {"persist": False},
        },
        "logging": {
            "logs": {
                "default": {"exclude": ["http.log.access"], "encoder": ENCODER},
                "access": {
                    "include": ["http.log.access"],
                    "encoder": ENCODER,
                    "writer": {
                        "output": "file",
                        "filename": "/run/lockstep/access.log",
                        "roll_size_mb": 4,
                        "roll_keep": 4,
                        "roll_gzip": False,
                    },
                },
            }
        },
        "apps": {
            "http": {
                "servers": {
                    "apps": {
                        "listen": [":8080"],
                        "automatic_https": {"disable": True},
                        "logs": {},
                        "routes": [SHOP_ROUTE, LAST],
                    },
                    "probe": {
                        "listen": ["unix//run/lockstep/probe.sock"],
                        "automatic_https": {"disable": True},
                        "routes": [
                            {
                                "handle": [
                                    {
                                        "handler": "reverse_proxy",
                                        "upstreams": [{"dial": "{http.request.header.X-Lockstep-Dial}"}],
                                        "headers": {"request": {"delete": ["X-Lockstep-Dial"]}},
                                    }
                                ]
                            }
                        ],
                        "errors": {
                            "routes": [
                                {
                                    "handle": [
                                        {
                                            "handler": "static_response",
                                            "status_code": 502,
                                            "headers": {"X-Lockstep-Unreached": ["1"]},
                                        }
                                    ]
                                }
                            ]
                        },
                    },
                }
            }
        },
    }


def test_the_order_of_apps_makes_no_other_config() -> None:
    blog = Route("blog", ("blog.example.org",), "lockstep-blog-web-v1", 8000)
    one, other = routes.configuration((SHOP, blog)), routes.configuration((blog, SHOP))
    assert routes.same_config(one, other)
    assert not routes.same_config(one, routes.configuration((SHOP,)))
    assert not routes.same_config(None, one)
    assert not routes.same_config({"apps": {}}, one)
    assert routes.configuration((blog,), tuple(routes.apps_in(routes.configuration((SHOP,))))) == other


def test_nobody_answers_last() -> None:
    """The route without a match would take every request from those after it."""
    made = routes.configuration((SHOP, SHOP))["apps"]["http"]["servers"]["apps"]["routes"]
    assert made[-1] == LAST
    assert all("match" in found for found in made[:-1])


def test_container(tmp_path: Path) -> None:
    made = routes.container(samples.settings(tmp_path, http_host="127.0.0.1", http_port=8123), "sha256:1")
    assert made == {
        "Image": "sha256:1",
        "Labels": {"lockstep.instance": "lockstep", "lockstep.kind": "platform", "lockstep.process": "router"},
        "Entrypoint": ["caddy", "run", "--config", "/run/lockstep/config.json"],
        "Cmd": [],
        "Env": ["XDG_CONFIG_HOME=/var/lib/caddy", "XDG_DATA_HOME=/var/lib/caddy"],
        "ExposedPorts": {"8080/tcp": {}},
        "HostConfig": {
            "Init": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": 1024,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            "RestartPolicy": {"Name": "always"},
            "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8123"}]},
            "Mounts": [
                {"Type": "bind", "Source": str(tmp_path / "run/router"), "Target": "/run/lockstep"},
                {
                    "Type": "volume",
                    "Source": "lockstep-router",
                    "Target": "/var/lib/caddy",
                    "VolumeOptions": {
                        "NoCopy": True,
                        "Labels": {"lockstep.instance": "lockstep", "lockstep.kind": "platform"},
                    },
                },
            ],
        },
    }


@pytest.mark.parametrize(
    ("status", "path", "healthy"),
    [
        (None, None, False),
        (None, "/up", False),
        (500, None, True),
        (404, None, True),
        (200, "/up", True),
        (302, "/up", True),
        (399, "/up", True),
        (199, "/up", False),
        (400, "/up", False),
        (503, "/up", False),
    ],
)
def test_what_counts_as_healthy(status: int | None, path: str | None, healthy: bool) -> None:
    assert Answer(status).healthy(path) is healthy


def test_hosts_of_an_app(tmp_path: Path) -> None:
    settings = samples.settings(tmp_path, domain="example.org")
    assert hosts_of(settings, release(web())) == ("shop.example.org",)
    assert hosts_of(settings, release(web(), host="www.shop.ch")) == ("www.shop.ch", "shop.example.org")
    assert hosts_of(settings, release(web(), host="shop.example.org")) == ("shop.example.org",)


def test_route_of_a_release(tmp_path: Path) -> None:
    settings = samples.settings(tmp_path)
    assert route_of(settings, release(web(port=3000), number=4)) == Route(
        "shop", ("shop.localhost",), "lockstep-shop-web-v4", 3000
    )
    assert route_of(settings, release(worker())) is None
    assert route_of(settings, release(web(port=None))) is None


def test_routes_are_those_of_the_live_releases(tmp_path: Path, store: Store) -> None:
    settings = samples.settings(tmp_path)
    with store.write() as tx:
        for app, live in (("blog", 1), ("mail", 1), ("new", None), ("shop", 2)):
            tx.apps.create(app, NOW)
            for number in (1, 2):
                process = worker() if app == "mail" else web()
                tx.releases.add(release(process, app=app, number=number))
            tx.apps.set_current(app, live)
    assert [(found.app, found.service) for found in routes_of(settings, store)] == [
        ("blog", "lockstep-blog-web-v1"),
        ("shop", "lockstep-shop-web-v2"),
    ]
