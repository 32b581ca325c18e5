"""What the machine that builds lends to the images: its certificates and its way out. The only reader of both."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

BUNDLES: Final = (
    Path("/etc/ssl/certs/ca-certificates.crt"),  # Debian
    Path("/etc/pki/tls/certs/ca-bundle.crt"),  # Fedora and its family
    Path("/etc/ssl/cert.pem"),  # Alpine, macOS
)
PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


def certificates(paths: tuple[Path, ...] = BUNDLES) -> bytes | None:
    """The bundle of certificates that this machine trusts; None when it has none where it could be."""
    for path in paths:
        if path.is_file():
            bundle = path.read_bytes()
            return bundle if b"BEGIN CERTIFICATE" in bundle else None
    return None


def proxy_args(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Build arguments for the proxies of `environ`; BuildKit keeps these names out of image and cache."""
    names = [name for proxy in PROXIES for name in (proxy, proxy.lower())]
    return {name: environ[name] for name in names if environ.get(name)}


def can_bootstrap(arch: str) -> bool:
    """Whether mmdebstrap can make a Debian of `arch` (Debian's word for it) here."""
    return (
        os.geteuid() == 0
        and shutil.which("mmdebstrap") is not None
        and debian_arch(platform.machine()) == arch
        and _os_release().get("ID") == "debian"
    )


def debian_arch(machine: str) -> str:
    """Debian's (and Docker's) word for what the kernel calls `machine`."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
