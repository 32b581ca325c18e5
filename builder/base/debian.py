"""Debian from its packages: mmdebstrap's tar streamed into the engine as an image, with no registry."""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

from builder.base.recipes import LABEL, SOURCES, SUITE, reference
from runtime.engine.client import Engine
from runtime.errors import BuildError, DeadlinePassed, EngineError
from runtime.text import printable

BOOTSTRAP_DEADLINE: Final = 900.0  # seconds; a slow mirror needs some minutes
LEAVE_DEADLINE: Final = 20.0  # seconds for mmdebstrap to unmount and remove what it made
OWN_EXIT_DEADLINE: Final = 10.0  # seconds for mmdebstrap to remove its folder after the tar is through
CHUNK: Final = 256 * 1024
MERGED_USR: Final = Path("/usr/share/mmdebstrap/hooks/merged-usr")

# traces of this machine, and what the first boot would make anyway
_TRACES: Final = ("resolv.conf", "hostname", "hosts")
_CLEAN: Final = " ".join(f'"$1"/etc/{name}' for name in _TRACES) + (
    ' "$1"/var/log/*.log "$1"/var/log/apt "$1"/var/cache/ldconfig/aux-cache "$1"/var/cache/debconf/*-old'
)
_EXCLUDED: Final = ("man", "locale", "doc", "info", "lintian", "bug")


def bootstrap_command(suite: str = SUITE, sources: str = SOURCES) -> list[str]:
    """The mmdebstrap command line that writes a small Debian as a tar to its standard output."""
    command = ["mmdebstrap", "--variant=minbase", "--format=tar", f"--hook-dir={MERGED_USR}"]
    command += ["--include=ca-certificates,usr-is-merged"]  # usrmerge, its alternative, brings all of perl
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _EXCLUDED]
    command += ["--dpkgopt=path-include=/usr/share/doc/*/copyright"]
    command += ["--dpkgopt=path-include=/usr/share/locale/locale.alias"]
    command += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    command += [f"--customize-hook=rm -rf {_CLEAN}", suite, "-"]
    return command + sources.splitlines()


def debian_reference(arch: str) -> str:
    """The tag of the image that `bootstrap` makes."""
    return reference("debian", [bootstrap_command(), arch])


async def bootstrap(engine: Engine, tag: str) -> None:
    """Make the Debian image and name it `tag`. Raises BuildError, DeadlinePassed, EngineError."""
    try:
        async with asyncio.timeout(BOOTSTRAP_DEADLINE):
            image = await _import(engine)
    except TimeoutError:
        raise DeadlinePassed("building Debian from its packages", BOOTSTRAP_DEADLINE) from None
    repository, _, name = tag.rpartition(":")
    await engine.post(f"/images/{image}/tag", repo=repository, tag=name)


async def _import(engine: Engine) -> str:
    """Stream mmdebstrap's tar into the engine; the image is good only if mmdebstrap ended well."""
    program = shutil.which("mmdebstrap") or "mmdebstrap"
    process = await asyncio.create_subprocess_exec(
        program,
        *bootstrap_command()[1:],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    notes: deque[str] = deque(maxlen=20)
    reader = asyncio.ensure_future(_read_notes(process, notes))
    try:
        image, trouble = await _send(engine, process)
        await _exit(process, OWN_EXIT_DEADLINE)  # when it broke off, the engine's complaint only follows from that
        await asyncio.wait({reader}, timeout=OWN_EXIT_DEADLINE)
        code = process.returncode
    finally:
        reader.cancel()
        await _end(process)
    if image is not None and code == 0:
        return image
    if image is not None:
        await engine.delete(f"/images/{image}")
    if code is not None and code != 0:
        raise BuildError(_bootstrap_trouble(code, notes))
    raise BuildError(f"the engine did not take the Debian image: {trouble}")


async def _send(engine: Engine, process: asyncio.subprocess.Process) -> tuple[str | None, str]:
    """The imported image's id, or None and why."""
    params = {"fromSrc": "-", "changes": f"LABEL {LABEL}=debian"}
    image, trouble = None, "it gave no reason"
    headers = {"Content-Type": "application/x-tar"}
    try:
        answer = engine.lines("POST", "/images/create", data=_chunks(process), headers=headers, **params)
        async with aclosing(answer) as lines:
            async for line in lines:
                trouble = str(line.get("error", trouble))
                if str(line.get("status", "")).startswith("sha256:"):
                    image = line["status"]
    except EngineError as error:
        trouble = str(error)
    return image, trouble


async def _chunks(process: asyncio.subprocess.Process) -> AsyncIterator[bytes]:
    assert process.stdout is not None
    while chunk := await process.stdout.read(CHUNK):
        yield chunk


async def _read_notes(process: asyncio.subprocess.Process, notes: deque[str]) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        notes.append(printable(line.decode(errors="replace").strip()))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Make sure that the process is gone, gently first: it has mounts to undo."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await _exit(process, LEAVE_DEADLINE)
    finally:
        if process.returncode is None:
            process.kill()


async def _exit(process: asyncio.subprocess.Process, deadline: float) -> None:
    """Wait until the process is gone, at most `deadline` seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(deadline):
            await process.wait()


def _bootstrap_trouble(code: int, notes: deque[str]) -> str:
    said = next((note for note in reversed(notes) if note.startswith("E:")), notes[-1] if notes else "it said nothing")
    return (
        f"mmdebstrap ended with exit code {code} ({said[:300]}): "
        "check that deb.debian.org can be reached, or set base_image to a Debian image that the engine has"
    )
