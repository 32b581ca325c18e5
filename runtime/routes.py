"""What the router is asked to be, as pure functions: routes in, Caddy's config and container out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from runtime import names
from runtime.engine.specs import LOG, PIDS, Spec
from runtime.names import Handle
from runtime.pages import STOPPED, Closed
from runtime.settings import Settings
from runtime.switchboard import LIVE, Target

INSIDE: Final = "/run/lockstep"  # where the router's container sees the instance's router folder
CONFIG: Final = "config.json"  # the config that the router last took, for its next start
HTTP_PORT: Final = 8080  # inside the container
ACCESS_LOG: Final = "access.log"  # a line per request, in the router's folder; full ones get other names
ACCESS_SIZE: Final = 4  # MiB of one such file
ACCESS_FILES: Final = 4  # full ones that are there beside it, for a server that is away
HTTPS_PORT: Final = 8443  # the same
AUTHORITY: Final = "local"  # Caddy's name for the authority of its own
LOCAL_TLDS: Final = frozenset({"localhost", "local", "test", "internal", "invalid", "example", "lan", "home"})
DIAL: Final = "X-Lockstep-Dial"  # request header of the probe server: whom to ask
UNREACHED: Final = "X-Lockstep-Unreached"  # answer header of the probe server: nobody answered there
RETRY: Final = {"try_duration": "5s", "try_interval": "100ms"}
# A replica that was killed is in the DNS for half a second more, and nothing answers at its address.
DIAL_LIMIT: Final = "500ms"
# A target is found by listing the folder behind the link, then looking at the file: another one can be there by then.
LOOKS: Final = 3
NOBODY: Final[dict[str, Any]] = {
    "handler": "static_response",
    "status_code": 404,
    "body": "no app answers to this host name\n",
}

Json = Any


@dataclass(frozen=True)
class Tls:
    """How the router speaks https."""

    port: int  # where visitors reach it
    acme_email: str | None = None  # None: no public certificates, the router's own authority signs all


@dataclass(frozen=True)
class Route:
    """Requests for `hosts` go to the tasks of `service`, or are answered here while it is closed."""

    app: Handle
    hosts: tuple[str, ...]
    service: str
    port: int
    closed: Closed | None = None
    https: int | None = None  # the port that plain http is sent to; None: it is served

    @property
    def target(self) -> Target | None:
        """None while it is closed."""
        return Target(self.service, self.port) if self.closed is None else None


def tls_of(settings: Settings) -> Tls | None:
    """None when the router speaks http alone."""
    return None if settings.https_port is None else Tls(settings.https_port, settings.acme_email)


def route(target: Route) -> Json:
    """Caddy's form of one route: the same for every release of the app."""
    inner = [{"handle": [_page(target.closed)]}] if target.closed is not None else _to_service(target.app)
    if target.https is not None:
        inner = [_to_https(target.https), *inner]
    return {
        "@id": route_id(target.app),
        "match": [{"host": list(target.hosts)}],
        "handle": [{"handler": "subroute", "routes": inner}],
        "terminal": True,
    }


def _to_service(app: Handle) -> list[Json]:
    """To where the app's link leads; one without a link was stopped just now."""
    find = {"file": {"root": f"{INSIDE}/{LIVE}/{app}", "try_files": ["*"] * LOOKS}}
    read = {
        "handler": "map",
        "source": "{http.matchers.file.relative}",
        "destinations": ["{lockstep.service}", "{lockstep.port}"],
        "mappings": [{"input_regexp": "^/?(.+)@([0-9]+)$", "outputs": ["${1}", "${2}"]}],
    }
    proxy = {
        "handler": "reverse_proxy",
        "dynamic_upstreams": {
            "source": "a",
            "name": "tasks.{lockstep.service}",
            "port": "{lockstep.port}",
            "refresh": "500ms",
        },
        "load_balancing": RETRY,
        "health_checks": {"passive": {"fail_duration": "2s"}},
        "transport": {"protocol": "http", "dial_timeout": DIAL_LIMIT},
    }
    return [{"match": [find], "handle": [read, proxy]}, {"handle": [_page(STOPPED)]}]


def _page(closed: Closed) -> Json:
    return {
        "handler": "static_response",
        "status_code": 503,
        "headers": {
            "Content-Type": ["text/html; charset=utf-8"],
            "Retry-After": [str(closed.retry_after)],
            "Cache-Control": ["no-store"],
        },
        "body": closed.body,
    }


def _to_https(port: int) -> Json:
    at = "" if port == 443 else f":{port}"
    answer = {
        "handler": "static_response",
        "status_code": 308,
        "headers": {"Location": [f"https://{{http.request.host}}{at}{{http.request.uri}}"]},
    }
    return {"match": [{"protocol": "http"}], "handle": [answer], "terminal": True}


def route_id(app: Handle) -> str:
    return f"app-{app}"


def configuration(routes: tuple[Route, ...], others: tuple[Json, ...] = (), tls: Tls | None = None) -> Json:
    """The router's whole config: the apps' server, and the server that health checks go through.

    `others` are routes in Caddy's form, which stay as they are.
    """
    of_apps = [*(route(target) for target in routes), *others]
    ask = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"{{http.request.header.{DIAL}}}"}],
        "headers": {"request": {"delete": [DIAL]}},
    }
    unreached = {"handler": "static_response", "status_code": 502, "headers": {UNREACHED: ["1"]}}
    servers = {
        "apps": {
            "listen": [f":{HTTP_PORT}"],
            "automatic_https": {"disable": True},  # certificates are asked for by name, see `certificates`
            "logs": {},
            "routes": [*of_apps, {"@id": "nobody", "handle": [NOBODY]}],
        },
        "probe": {
            "listen": [f"unix/{INSIDE}/probe.sock"],
            "automatic_https": {"disable": True},
            "routes": [{"handle": [ask]}],
            "errors": {"routes": [{"handle": [unreached]}]},
        },
    }
    plain = {
        "admin": {
            "listen": f"unix/{INSIDE}/admin.sock",
            "origins": ["localhost"],
            "config": {"persist": False},  # Router keeps it, where a restarted container reads it
        },
        "logging": {"logs": _logs()},
        "apps": {"http": {"servers": servers}},
    }
    return plain if tls is None else with_tls(plain, tls)


def with_route(config: Json, app: Handle, wanted: Route | None, tls: Tls | None) -> Json:
    """A config of ours with this route in the place of the app's own, or without one."""
    kept = tuple(item for item in apps_in(config) if item["@id"] != route_id(app))
    return configuration(() if wanted is None else (wanted,), kept, tls)


def with_tls(config: Json, tls: Tls) -> Json:
    """The same config, whose apps also answer at https, each host with a certificate of its own."""
    servers = config["apps"]["http"]["servers"]
    apps = {
        **servers["apps"],
        "listen": [f":{HTTP_PORT}", f":{HTTPS_PORT}"],
        "protocols": ["h1", "h2"],
        "tls_connection_policies": [{}],  # applies to every port but http_port
    }
    http = {"http_port": HTTP_PORT, "https_port": HTTPS_PORT, "servers": {**servers, "apps": apps}}
    matches = (match for item in apps_in(config) for match in item.get("match", ()))
    hosts = sorted({host for match in matches for host in match.get("host", ())})
    return {**config, "apps": {**config["apps"], "http": http, **certificates(hosts, tls)}}


def certificates(hosts: list[str], tls: Tls) -> Json:
    """Who signs for which host: the router's own authority for names that only this network knows, else ACME."""
    inner = [host for host in hosts if tls.acme_email is None or is_local(host)]
    public = [host for host in hosts if host not in inner]
    acme = {
        "module": "acme",
        "email": tls.acme_email,
        # Visitors' ports lead to these ones of the container.
        "challenges": {"http": {"alternate_port": HTTP_PORT}, "tls-alpn": {"alternate_port": HTTPS_PORT}},
    }
    policies = [
        *([{"subjects": inner, "issuers": [{"module": "internal"}]}] if inner else []),
        *([{"subjects": public, "issuers": [acme]}] if public else []),
    ]
    return {
        "tls": {"certificates": {"automate": hosts}, "automation": {"policies": policies}},
        "pki": {"certificate_authorities": {AUTHORITY: {"install_trust": False}}},
    }


def is_local(host: str) -> bool:
    """Whether no public authority would sign for it (RFC 2606, RFC 6762, and the top-level `internal`)."""
    return host.rpartition(".")[2] in LOCAL_TLDS


def _logs() -> Json:
    """A line per request into a file, which the engine has no part in; the router's own words to standard error.

    Neither shows what a visitor may want to keep: the query, headers with cookies and passwords, the address.
    """
    private = ("request>headers", "request>remote_ip", "request>remote_port", "request>tls", "resp_headers", "user_id")
    encoder = {
        "format": "filter",
        "wrap": {"format": "json", "time_format": "rfc3339_nano"},
        "fields": {
            "request>uri": {"filter": "regexp", "regexp": "[?#].*", "value": ""},
            **{field: {"filter": "delete"} for field in private},
        },
    }
    file = {
        "output": "file",
        "filename": f"{INSIDE}/{ACCESS_LOG}",
        "roll_size_mb": ACCESS_SIZE,
        "roll_keep": ACCESS_FILES,
        "roll_gzip": False,
    }
    return {
        "default": {"exclude": ["http.log.access"], "encoder": encoder},
        "access": {"include": ["http.log.access"], "encoder": encoder, "writer": file},
    }


def container(settings: Settings, image: str) -> Spec:
    """The router's own container."""
    ports = {HTTP_PORT: settings.http_port}
    if settings.https_port is not None:
        ports[HTTPS_PORT] = settings.https_port
    return {
        "Image": image,
        "Labels": names.labels(settings.instance, names.PLATFORM, process="router"),
        "Entrypoint": ["caddy", "run", "--config", f"{INSIDE}/{CONFIG}"],
        "Cmd": [],
        "Env": ["XDG_CONFIG_HOME=/var/lib/caddy", "XDG_DATA_HOME=/var/lib/caddy"],
        "ExposedPorts": {f"{inside}/tcp": {} for inside in ports},
        "HostConfig": {
            "Init": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": PIDS,
            "LogConfig": LOG,
            "RestartPolicy": {"Name": "always"},
            "PortBindings": {
                f"{inside}/tcp": [{"HostIp": settings.http_host, "HostPort": str(port)}]
                for inside, port in ports.items()
            },
            "Mounts": [
                {"Type": "bind", "Source": str(settings.router_run), "Target": INSIDE},
                {
                    "Type": "volume",
                    "Source": names.platform(settings.instance, "router"),
                    "Target": "/var/lib/caddy",
                    "VolumeOptions": {
                        "NoCopy": True,  # root's folder, since Caddy runs as a root without capabilities
                        "Labels": names.labels(settings.instance, names.PLATFORM),
                    },
                },
            ],
        },
    }


def same_config(config: Json, wanted: Json) -> bool:
    """Whether two configs are one; the order of the apps' routes does not matter, they have no host in common."""
    return bool(_in_order(config) == _in_order(wanted))


def apps_in(config: Json) -> list[Json]:
    """The routes of apps in a config; none in one that is not of ours."""
    try:
        routes = config["apps"]["http"]["servers"]["apps"]["routes"]
        return [item for item in routes if str(item.get("@id", "")).startswith("app-")]
    except (TypeError, KeyError, AttributeError):
        return []


def _in_order(config: Json) -> Json:
    """The config with the routes of apps in the order of their ids; a foreign one as it is."""
    routes = apps_in(config)
    if not routes:
        return config
    servers = config["apps"]["http"]["servers"]
    others = [item for item in servers["apps"]["routes"] if item not in routes]
    ordered = {**servers["apps"], "routes": [*sorted(routes, key=lambda item: str(item["@id"])), *others]}
    http = {**config["apps"]["http"], "servers": {**servers, "apps": ordered}}
    return {**config, "apps": {**config["apps"], "http": http}}
