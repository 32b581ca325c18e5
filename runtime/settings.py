"""The settings of one instance: `lockstep.toml` in its home folder, each overridden by LOCKSTEP_NAME."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from runtime.errors import SettingsError
from runtime.model import GIB, MIB, app_name

FILE_NAME = "lockstep.toml"
SOCKET_PATH_LIMIT = 107  # bytes of a unix socket's path, unix(7)
ANYWHERE = "0.0.0.0"  # noqa: S104 - a public server listens on all addresses
LONGEST_SOCKET = "run/router/probe.sock"  # the longest socket path below home


_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def _domain(text: str) -> str:
    name = text.lower()
    if len(name) > 200 or not all(map(_LABEL.fullmatch, name.split("."))):
        raise ValueError(f"'{text}' is not a domain: use letters, digits, hyphens and dots")
    return name


class Settings(BaseSettings):
    """What an operator may set; the folders and sockets of the instance follow from `home`."""

    model_config = SettingsConfigDict(env_prefix="LOCKSTEP_", extra="forbid", frozen=True)

    home: Path
    instance: Annotated[str, Field(max_length=20), AfterValidator(app_name)] = "lockstep"
    domain: Annotated[str, AfterValidator(_domain)] = "localhost"
    ssh_host: str = ANYWHERE
    ssh_port: int = Field(default=2222, ge=0, le=65535)
    http_host: str = ANYWHERE
    http_port: int = Field(default=8080, ge=1, le=65535)
    https_port: int | None = Field(default=None, ge=1, le=65535)  # None: no https
    acme_email: str | None = Field(default=None, pattern=r"^[^@\s{}]+@[^@\s{}]+$")  # account for public certificates
    engine: str | None = None  # DOCKER_HOST of this instance
    base_image: str | None = None  # a Debian image to build the stacks on, instead of Debian's packages
    push_limit: int = Field(default=GIB, ge=1024)  # bytes that one push may bring
    builds: int | None = Field(default=None, ge=1)  # that run at once; None: half the cores
    build_deadline: float = Field(default=3600, gt=0)  # seconds
    health_deadline: float = Field(default=60, gt=0)  # seconds that a started web has to become healthy
    settle: float = Field(default=2.0, ge=0)  # seconds that new workers are watched before the deploy ends
    lock_wait: float = Field(default=600, ge=0)  # seconds that a push waits for another deploy of its app
    cron_wait: float = Field(default=300, ge=0)  # seconds that a deploy waits for cron runs that block it
    alerts_to_host: bool = False  # notify.on_failure may name an address that only this machine reaches
    keep_releases: int = Field(default=10, ge=2)  # releases whose images stay
    log_budget: int = Field(default=20 * MIB, ge=MIB)  # bytes of the log that is kept of one app
    fault: str | None = None  # "step:before" or "step:after": die there, ":pause": stand still (tests only)
    for_tests: bool = False  # the instance was made for tests, so that `fault` is obeyed

    @model_validator(mode="after")
    def _each_port_once(self) -> Settings:
        taken = {"http_port": self.http_port, "https_port": self.https_port}
        if ANYWHERE in (self.ssh_host, self.http_host) or self.ssh_host == self.http_host:
            taken["ssh_port"] = self.ssh_port or None  # 0 takes a free one
        ports = [port for port in taken.values() if port is not None]
        twice = [name for name, port in taken.items() if ports.count(port or -1) > 1]
        if twice:
            raise ValueError(f"{' and '.join(sorted(twice))} are the same port: give each its own")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        home = Path(init_settings()["home"])
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, home / FILE_NAME))

    @property
    def builds_at_once(self) -> int:
        return self.builds or max(1, (os.cpu_count() or 1) // 2)

    @property
    def database(self) -> Path:
        return self.home / "lockstep.db"

    @property
    def repositories(self) -> Path:
        return self.home / "repos"

    @property
    def secret_key(self) -> Path:
        return self.home / "secret.key"

    @property
    def host_key(self) -> Path:
        return self.home / "ssh_host_ed25519_key"

    @property
    def client_key(self) -> Path:
        """The key with which this host runs operators' commands on its own server."""
        return self.home / "client_ed25519_key"

    @property
    def known_hosts(self) -> Path:
        """The server's key, as its own host's ssh compares it."""
        return self.run / "known_hosts"

    @property
    def port_file(self) -> Path:
        """Holds the port for git and ssh that the running server got."""
        return self.run / "ssh_port"

    def repository_of(self, app: str) -> Path:
        return self.repositories / f"{app}.git"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def run(self) -> Path:
        """Sockets and locks; nothing in it outlives a reboot."""
        return self.home / "run"

    @property
    def router_run(self) -> Path:
        return self.run / "router"

    @property
    def redis_run(self) -> Path:
        return self.run / "redis"

    @property
    def scheduler_socket(self) -> Path:
        return self.run / "scheduler.sock"

    def host_of(self, app: str) -> str:
        return f"{app}.{self.domain}"

    def url_of(self, host: str, *, https: bool = False) -> str:
        if https and self.https_port is not None:
            return f"https://{host}{'' if self.https_port == 443 else f':{self.https_port}'}/"
        port = "" if self.http_port == 80 else f":{self.http_port}"
        return f"http://{host}{port}/"


def load_settings(home: Path) -> Settings:
    """The settings of the instance in `home`. Raises SettingsError with every wrong setting named."""
    home = home.resolve()
    if not (home / FILE_NAME).is_file():
        raise SettingsError(f"{home / FILE_NAME} is not there: run 'lockstep init --home {home}' first")
    if len(str(home / LONGEST_SOCKET).encode()) > SOCKET_PATH_LIMIT:
        raise SettingsError(f"{home} is too long a path for unix sockets: choose one of at most 80 characters")
    try:
        return Settings(home=home)
    except ValidationError as error:
        raise SettingsError(f"{home / FILE_NAME}: {_problems(error)}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{home / FILE_NAME} is not valid TOML: {error}") from None


def check_settings(home: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The values that are given, as a new instance in `home` would have them. Raises SettingsError."""
    given = {name: value for name, value in values.items() if value is not None}
    try:
        settings = Settings(home=home, **given)
    except ValidationError as error:
        raise SettingsError(_problems(error)) from None
    return {name: getattr(settings, name) for name in given}


def render_settings(values: dict[str, Any]) -> str:
    """The text of a new lockstep.toml; None values are left to their defaults."""
    lines = ["# Settings of this Lockstep instance. LOCKSTEP_NAME in the environment overrides `name` here."]
    lines += [f"{name} = {json.dumps(value)}" for name, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"


def _problems(error: ValidationError) -> str:
    return "; ".join(map(_problem, error.errors()))


def _problem(item: ErrorDetails) -> str:
    name = ".".join(str(part) for part in item["loc"])
    if not name:  # of several settings together
        return str(item.get("ctx", {}).get("error"))
    if item["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Settings.model_fields, n=1)
        return f"there is no setting {name}{f', did you mean {near[0]}?' if near else ''}"
    message = str(item.get("ctx", {}).get("error") or f"{item['msg'][:1].lower()}{item['msg'][1:]}")
    return f"{name}: {message}"
