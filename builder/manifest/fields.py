"""The types of manifest values, each with its own check; used by the dialects' models."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import permutations
from typing import Annotated, Final
from urllib.parse import urlsplit

from croniter import croniter
from pydantic import AfterValidator, BeforeValidator, Field

from runtime.model import GIB, MIB, WEB, Limits, process_name

ALL_PATHS: Final = "/*"  # where headers apply that are given without a path
MAX_COMMAND: Final = 100_000  # bytes; Linux takes at most 128 KiB in one argument
MAX_JOBS: Final = 50  # workers, or cron jobs, of one app
MAX_FOLDERS: Final = 50  # folders that outlive a release, of one app
MAX_MEMORY: Final = 1024 * GIB

_ANY_DAY: Final = datetime(2000, 1, 1, tzinfo=UTC)  # where the search for a first tick begins
_EVERY: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_CRON_FIELD: Final = re.compile(r"(?:[0-9*/,?#-]|L|W|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC|"
                                r"SUN|MON|TUE|WED|THU|FRI|SAT)+", re.IGNORECASE)  # fmt: skip
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_FOLDER: Final = re.compile(r"[A-Za-z0-9._@+/-]{1,200}")
_URL_PATH: Final = re.compile(r"/[!-~]{0,500}")
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_CPU: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3})?")
_MEMORY: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([KMG])i?B?", re.IGNORECASE)
_UNITS: Final = {"K": 1024, "M": MIB, "G": GIB}
_GO_DURATION: Final = re.compile(r"(?:[0-9]{1,6}(?:\.[0-9]{1,3})?(?:h|m|s))+")
_GO_PART: Final = re.compile(r"([0-9.]+)(h|m|s)")
_GO_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0}


def command(text: str) -> str:
    """`text` if it can be a command line. Raises ValueError."""
    if not text.strip():
        raise ValueError("is empty, give it a command or remove the key")
    if len(text.encode()) > MAX_COMMAND:
        raise ValueError("is too long for a command line, put it in a script of the repository")
    return text


def job_name(text: str) -> str:
    """`text` if it can name a worker or a cron job. Raises ValueError."""
    if text == WEB:
        raise ValueError("'web' is the name of the app's web process, choose another one")
    return process_name(text)


def folder(text: str) -> str:
    """A path below the repository's root, normalised ("" for the root itself). Raises ValueError."""
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith("/") or ".." in parts or ".git" in parts:
        raise ValueError("must be a path inside of the repository, without a leading '/' and without '..'")
    if not _FOLDER.fullmatch(text):
        raise ValueError("must be a path of letters, digits, '.', '_', '-', '@', '+' and '/'")
    return "/".join(parts)


def subfolder(text: str) -> str:
    """As `folder`, but not the root itself."""
    if not (path := folder(text)):
        raise ValueError("must name something inside of the repository, not its root")
    return path


def url_path(text: str) -> str:
    """`text` if it is the path of a URL. Raises ValueError."""
    if not _URL_PATH.fullmatch(text):
        raise ValueError(f"must be a path such as '/health', got '{text[:60]}'")
    return text


def host_name(text: str) -> str:
    """`text` in lower case if it is a full host name. Raises ValueError."""
    host = text.lower()
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise ValueError(f"must be a full host name such as 'shop.example.com', got '{text[:60]}'")
    return host


def http_url(text: str) -> str:
    """`text` if it is an http(s) URL. Raises ValueError."""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable() and " " not in text
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("must be a URL that begins with http:// or https://")
    return text


def cpu(value: object) -> float:
    """Cores from 0.5 or "0.5". Raises ValueError."""
    text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if not _CPU.fullmatch(text) or not 0.01 <= float(text) <= 256:
        raise ValueError("must be a number of cores from 0.01 to 256, such as 0.5")
    return float(text)


def memory(value: object) -> int:
    """Bytes from "256M" or "1.5G" (of 1024). Raises ValueError."""
    match = _MEMORY.fullmatch(value) if isinstance(value, str) else None
    size = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if not 16 * MIB <= size <= MAX_MEMORY:
        raise ValueError("must be a size with its unit from 16M to 1024G, such as '256M' or '1G'")
    return size


def schedule(text: str) -> str:
    """The five fields of a cron schedule that has a next tick; `@daily` is written out. Raises ValueError."""
    fields = _EVERY.get(text.strip().lower(), text).split()
    if len(text) > 200 or len(fields) != 5:
        raise ValueError("must have five fields (minute hour day month weekday) such as '0 2 * * *', or be @daily")
    if wrong := [field for field in fields if not _CRON_FIELD.fullmatch(field)]:
        raise ValueError(f"'{wrong[0]}' is not a cron field, see '0 2 * * *' for an example")
    try:
        croniter(" ".join(fields), _ANY_DAY).get_next(datetime)
    except (ValueError, KeyError, IndexError, TypeError) as error:  # what croniter lets through on odd input
        raise ValueError(f"'{' '.join(fields)}' never comes or is not a schedule, correct it ({error})") from None
    return " ".join(fields)


def time_zone(text: str) -> str:
    """`text` if this machine knows a time zone of that name. Raises ValueError."""
    try:
        zoneinfo.ZoneInfo(text)
    except (ValueError, KeyError, OSError):
        raise ValueError(f"'{text[:60]}' is not a time zone, use a name such as 'Europe/Zurich'") from None
    return text


def go_duration(value: object) -> float:
    """Seconds from Go's way of writing, "5m" or "1m30s", from 1m to 30m as Deploio allows. Raises ValueError."""
    text = value if isinstance(value, str) and _GO_DURATION.fullmatch(value) else ""
    seconds = sum(float(number) * _GO_SECONDS[unit] for number, unit in _GO_PART.findall(text))
    if not 60 <= seconds <= 1800:
        raise ValueError("must be a time from '1m' to '30m', such as '5m' or '90s'")
    return seconds


def one_namespace(groups: Iterable[tuple[str, Iterable[str]]]) -> None:
    """Raises ValueError, with the key's path, when a name is used twice in all the groups (key, names)."""
    seen: dict[str, str] = {}
    for key, names in groups:
        for index, name in enumerate(names):
            path = f"{key}[{index}]"
            if name in seen:
                raise ValueError(f"{path}: the name '{name}' is taken by {seen[name]}, choose another one")
            seen[name] = path


def no_twice(names: tuple[str, ...]) -> tuple[str, ...]:
    """`names` if each is there once. Raises ValueError."""
    if twice := [name for index, name in enumerate(names) if name in names[:index]]:
        raise ValueError(f"'{twice[0]}' is there twice, keep one")
    return names


def separate(folders: tuple[str, ...]) -> tuple[str, ...]:
    """`folders` if none lies in another. Raises ValueError."""
    for one, other in permutations(folders, 2):
        if f"{one}/".startswith(f"{other}/"):
            raise ValueError(f"'{one}' is kept by '{other}' already, keep one")
    return folders


def by_path(given: object) -> object:
    """Path pattern -> headers; headers that are given without a path are those of all paths."""
    if not isinstance(given, dict):
        return given
    plain = {key: value for key, value in given.items() if not isinstance(value, dict)}
    nested = {key: value for key, value in given.items() if isinstance(value, dict)}
    return nested | {ALL_PATHS: plain | nested.get(ALL_PATHS, {})} if plain else nested


def headers(given: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """`given`, path pattern -> header -> value, if a server can send it. Raises ValueError."""
    for pattern, pairs in given.items():
        url_path(pattern)
        for name, value in pairs.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"'{name[:60]}' is not a header name, use letters, digits and '-'")
            if not value.isprintable():
                raise ValueError(f"the value of '{name}' must be one line of printable text")
    return given


def limits(cores: float | None, size: int | None) -> Limits:
    """The limits that a manifest gives, the platform's defaults where it gives none."""
    given = {"cpu": cores, "memory": size}
    return Limits.model_validate({key: value for key, value in given.items() if value is not None})


Command = Annotated[str, AfterValidator(command)]
Cpu = Annotated[float, BeforeValidator(cpu)]
Folder = Annotated[str, AfterValidator(folder)]
Subfolder = Annotated[str, AfterValidator(subfolder)]
Folders = Annotated[tuple[Subfolder, ...], Field(max_length=MAX_FOLDERS), AfterValidator(separate)]
GoDuration = Annotated[float, BeforeValidator(go_duration)]
GroupName = Annotated[str, AfterValidator(process_name)]
Grace = Annotated[float, Field(ge=0, le=1800)]
Headers = Annotated[dict[str, dict[str, str]], BeforeValidator(by_path), AfterValidator(headers)]
HostName = Annotated[str, AfterValidator(host_name)]
HttpUrl = Annotated[str, AfterValidator(http_url)]
JobName = Annotated[str, AfterValidator(job_name)]
Memory = Annotated[int, BeforeValidator(memory)]
Port = Annotated[int, Field(ge=1, le=65535)]
Replicas = Annotated[int, Field(ge=1, le=100)]
Retries = Annotated[int, Field(ge=0, le=5)]
Schedule = Annotated[str, AfterValidator(schedule)]
TimeZone = Annotated[str, AfterValidator(time_zone)]
UrlPath = Annotated[str, AfterValidator(url_path)]
