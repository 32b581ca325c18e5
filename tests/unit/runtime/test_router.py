"""The router's config and container, compared whole; the same values that Caddy is given."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from runtime import pages, routes
from runtime.face import Face
from runtime.names import Handle
from runtime.parts import hosts_of, route_of, routes_of
from runtime.router import Answer
from runtime.routes import Route, Tls
from runtime.store import Store
from runtime.switchboard import Target
from tests.unit.runtime import samples
from tests.unit.runtime.samples import NOW, release, web, worker

SHOP = Route(Handle("shop"), ("shop.example.org", "www.example.org"), "lockstep-shop-web-v3", 5000)
NOBODY = {"handler": "static_response", "status_code": 404, "body": "no app answers to this host name\n"}
STOPPED = {
    "handler": "static_response",
    "status_code": 503,
    "headers": {
        "Content-Type": ["text/html; charset=utf-8"],
        "Retry-After": ["60"],
        "Cache-Control": ["no-store"],
    },
    "body": pages.STOPPED.body,
}
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
                {"handle": [STOPPED]},
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
    blog = Route(Handle("blog"), ("blog.example.org",), "lockstep-blog-web-v1", 8000)
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
        Handle("shop"), ("shop.localhost",), "lockstep-shop-web-v4", 3000
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


# ---- closed routes, https ----------------------------------------------------------------------------------------


def inner(target: Route) -> Any:
    return routes.route(target)["handle"][0]["routes"]


def test_closed_route_is_a_page_that_is_not_kept() -> None:
    closed = dataclasses.replace(SHOP, closed=pages.STOPPED)
    assert (closed.target, SHOP.target) == (None, Target("lockstep-shop-web-v3", 5000))
    assert inner(closed) == [{"handle": [STOPPED]}]
    assert "This app is stopped." in pages.STOPPED.body


def test_a_message_is_shown_as_it_is_and_asks_the_router_for_nothing() -> None:
    """Caddy would put its environment, or a file, in the place of what stands in braces."""
    body = pages.maintenance(r'<b>{env.PATH}</b> \{file./etc/passwd} & "noon"').body
    assert not set("{}\\") & set(body)
    assert "&lt;b&gt;&#123;env.PATH&#125;&lt;/b&gt; &#92;&#123;file./etc/passwd&#125; &amp; &quot;noon&quot;" in body
    assert pages.MAINTENANCE_TEXT in pages.maintenance("").body


@pytest.mark.parametrize(("port", "at"), [(443, ""), (8443, ":8443")])
def test_plain_http_is_sent_to_https_and_nothing_else_is(port: int, at: str) -> None:
    first, *rest = inner(dataclasses.replace(SHOP, https=port))
    assert first == {
        "match": [{"protocol": "http"}],
        "handle": [
            {
                "handler": "static_response",
                "status_code": 308,
                "headers": {"Location": ["https://{http.request.host}" + at + "{http.request.uri}"]},
            }
        ],
        "terminal": True,
    }
    assert rest == inner(SHOP)


def test_https_of_the_own_authority_whole() -> None:
    plain, made = routes.configuration((SHOP,)), routes.configuration((SHOP,), tls=Tls(443))
    assert made["admin"] == plain["admin"]
    http = made["apps"]["http"]
    assert {key: http[key] for key in ("http_port", "https_port")} == {"http_port": 8080, "https_port": 8443}
    assert http["servers"]["probe"] == plain["apps"]["http"]["servers"]["probe"]
    assert http["servers"]["apps"] == {
        **plain["apps"]["http"]["servers"]["apps"],
        "listen": [":8080", ":8443"],
        "protocols": ["h1", "h2"],
        "tls_connection_policies": [{}],
    }
    hosts = ["shop.example.org", "www.example.org"]
    assert made["apps"]["tls"] == {
        "certificates": {"automate": hosts},
        "automation": {"policies": [{"subjects": hosts, "issuers": [{"module": "internal"}]}]},
    }
    assert made["apps"]["pki"] == {"certificate_authorities": {"local": {"install_trust": False}}}


def test_public_names_are_signed_by_acme_when_there_is_an_account() -> None:
    target = dataclasses.replace(SHOP, hosts=("www.example.org", "shop.localhost", "a.test", "b.lan"))
    made = routes.configuration((target,), tls=Tls(443, "ops@example.org"))
    assert made["apps"]["tls"] == {
        "certificates": {"automate": ["a.test", "b.lan", "shop.localhost", "www.example.org"]},
        "automation": {
            "policies": [
                {"subjects": ["a.test", "b.lan", "shop.localhost"], "issuers": [{"module": "internal"}]},
                {
                    "subjects": ["www.example.org"],
                    "issuers": [
                        {
                            "module": "acme",
                            "email": "ops@example.org",
                            "challenges": {"http": {"alternate_port": 8080}, "tls-alpn": {"alternate_port": 8443}},
                        }
                    ],
                },
            ]
        },
    }


def test_without_hosts_no_policy_stands_for_all_names() -> None:
    assert routes.certificates([], Tls(443, "ops@example.org"))["tls"]["automation"] == {"policies": []}


def test_one_route_is_changed_with_its_certificates() -> None:
    blog, tls = Route(Handle("blog"), ("blog.example.org",), "lockstep-blog-web-v1", 8000), Tls(8443)
    before = routes.configuration((SHOP, blog), tls=tls)
    moved = dataclasses.replace(SHOP, hosts=("new.example.org",))
    assert routes.same_config(
        routes.with_route(before, SHOP.app, moved, tls), routes.configuration((moved, blog), (), tls)
    )
    assert routes.same_config(routes.with_route(before, SHOP.app, None, tls), routes.configuration((blog,), (), tls))
    assert not routes.same_config(before, routes.configuration((SHOP, blog)))


def test_container_with_https(tmp_path: Path) -> None:
    made = routes.container(samples.settings(tmp_path, http_host="127.0.0.1", https_port=8124), "sha256:1")
    assert made["ExposedPorts"] == {"8080/tcp": {}, "8443/tcp": {}}
    assert made["HostConfig"]["PortBindings"]["8443/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "8124"}]


def test_face_of_an_app_is_part_of_its_route(tmp_path: Path) -> None:
    settings = samples.settings(tmp_path, https_port=443)
    face = Face(("a.example.org", "www.shop.ch"), https_only=True)
    made = route_of(settings, release(web(), host="www.shop.ch"), face)
    assert made is not None
    assert (made.hosts, made.https, made.closed) == (("www.shop.ch", "shop.localhost", "a.example.org"), 443, None)
    closed = route_of(settings, release(web()), Face(maintenance="at noon"))
    assert closed is not None
    assert (closed.https, closed.closed) == (None, pages.maintenance("at noon"))
    stopped = route_of(settings, release(web(replicas=0)))
    assert stopped is not None
    assert stopped.closed == pages.STOPPED


def test_what_operators_want_outlives_releases(tmp_path: Path, store: Store) -> None:
    settings = samples.settings(tmp_path)
    with store.write() as tx:
        tx.apps.create("shop", NOW)
        for number in (1, 2):
            tx.releases.add(release(web(), worker(), number=number))
        tx.apps.set_current("shop", 1)
        tx.faces.add_domain("shop", "www.example.org", "anna", NOW)
        tx.faces.set_stopped("shop", {"web"})
        tx.apps.set_current("shop", 2)
    [found] = routes_of(settings, store)
    assert (found.hosts, found.closed) == (("shop.localhost", "www.example.org"), pages.STOPPED)
    with store.write() as tx:
        tx.faces.set_stopped("shop", ())
        tx.faces.set_maintenance("shop", "")
    [found] = routes_of(settings, store)
    assert found.closed == pages.maintenance("")
