"""What the router is asked to be, as pure functions: routes in, Caddy's config and container out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from runtime import names
from runtime.engine.specs import LOG, PIDS, Spec
from runtime.settings import Settings
from runtime.switchboard import LIVE, Target

INSIDE: Final = "/run/lockstep"  # where the router's container sees the instance's router folder
CONFIG: Final = "config.json"  # the config that the router last took, for its next start
HTTP_PORT: Final = 8080  # inside the container
ACCESS_LOG: Final = "access.log"  # a line per request, in the router's folder; full ones get other names
ACCESS_SIZE: Final = 4  # MiB of one such file
ACCESS_FILES: Final = 4  # full ones that are there beside it, for a server that is away
DIAL: Final = "X-Lockstep-Dial"  # request header of the probe server: whom to ask
UNREACHED: Final = "X-Lockstep-Unreached"  # answer header of the probe server: nobody answered there
RETRY: Final = {"try_duration": "5s", "try_interval": "100ms"}
# A replica that was killed is in the DNS for half a second more, and nothing answers at its address.
DIAL_LIMIT: Final = "500ms"
# A target is found by listing the folder behind the link, then looking at the file: another one can be there by then.
LOOKS: Final = 3
NOBODY: Final = {"handler": "static_response", "status_code": 404, "body": "no app answers to this host name\n"}

Json = Any


@dataclass(frozen=True)
class Route:
    """Requests for `hosts` go to the tasks of `service`."""

    app: str
    hosts: tuple[str, ...]
    service: str
    port: int

    @property
    def target(self) -> Target:
        return Target(self.service, self.port)


def route(target: Route) -> Json:
    """Caddy's form of one route: the same for every release of the app."""
    find = {"file": {"root": f"{INSIDE}/{LIVE}/{target.app}", "try_files": ["*"] * LOOKS}}
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
    return {
        "@id": route_id(target.app),
        "match": [{"host": list(target.hosts)}],
        "handle": [
            {"handler": "subroute", "routes": [{"match": [find], "handle": [read, proxy]}, {"handle": [NOBODY]}]}
        ],
        "terminal": True,
    }


def route_id(app: str) -> str:
    return f"app-{app}"


def configuration(routes: tuple[Route, ...], others: tuple[Json, ...] = ()) -> Json:
    """The router's whole config: the apps' server, and the server that health checks go through.

    `others` are routes in Caddy's form, which stay as they are.
    """
    ask = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"{{http.request.header.{DIAL}}}"}],
        "headers": {"request": {"delete": [DIAL]}},
    }
    unreached = {"handler": "static_response", "status_code": 502, "headers": {UNREACHED: ["1"]}}
    return {
        "admin": {
            "listen": f"unix/{INSIDE}/admin.sock",
            "origins": ["localhost"],
            "config": {"persist": False},  # Router keeps it, where a restarted container reads it
        },
        "logging": {"logs": _logs()},
        "apps": {
            "http": {
                "servers": {
                    "apps": {
                        "listen": [f":{HTTP_PORT}"],
                        "automatic_https": {"disable": True},
                        "logs": {},
                        "routes": [
                            *(route(target) for target in routes),
                            *others,
                            {"@id": "nobody", "handle": [NOBODY]},
                        ],
                    },
                    "probe": {
                        "listen": [f"unix/{INSIDE}/probe.sock"],
                        "automatic_https": {"disable": True},
                        "routes": [{"handle": [ask]}],
                        "errors": {"routes": [{"handle": [unreached]}]},
                    },
                }
            }
        },
    }


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
    return {
        "Image": image,
        "Labels": names.labels(settings.instance, names.PLATFORM, process="router"),
        "Entrypoint": ["caddy", "run", "--config", f"{INSIDE}/{CONFIG}"],
        "Cmd": [],
        "Env": ["XDG_CONFIG_HOME=/var/lib/caddy", "XDG_DATA_HOME=/var/lib/caddy"],
        "ExposedPorts": {f"{HTTP_PORT}/tcp": {}},
        "HostConfig": {
            "Init": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": PIDS,
            "LogConfig": LOG,
            "RestartPolicy": {"Name": "always"},
            "PortBindings": {f"{HTTP_PORT}/tcp": [{"HostIp": settings.http_host, "HostPort": str(settings.http_port)}]},
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
    return {**config, "apps": {**config["apps"], "http": {"servers": {**servers, "apps": ordered}}}}
