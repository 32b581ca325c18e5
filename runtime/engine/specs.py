"""What the engine is asked to run, as pure functions: releases in, API bodies out.

The bodies follow the Engine API's documented shapes; nothing here talks to the engine.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from dataclasses import dataclass
from typing import Any, Final

from runtime import names
from runtime.model import CronJob, Hook, Limits, Process, ProcessKind, Release, Shell
from runtime.names import Handle

SECOND: Final = 1_000_000_000  # the API counts durations in nanoseconds
CORE: Final = 1_000_000_000  # and CPU in billionths of a core
PIDS: Final = 1024
RESTART_DELAY: Final = 1.0  # seconds between the end of a process and its next start
SOFT_CEILING: Final = 2  # a soft limit may be exceeded so many times before the kernel steps in
LOG: Final = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
APP_DIR: Final = "/app"
# The image's own check is about web, and the engine would obey it for workers as well, and end what it calls unhealthy.
NO_CHECK: Final = {"Test": ["NONE"]}

Spec = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where an app's processes run: the instance, its network, and what the platform adds to their environment."""

    instance: str
    network: str  # the app's overlay network, by name
    extra_env: tuple[tuple[str, str], ...] = ()  # REDIS_URL and the like; the last word


def process_service(release: Release, process: Process, place: Place, *, replicas: int) -> Spec:
    """The Swarm service of one process of a release."""
    marks = names.labels(
        place.instance,
        names.WEB if process.kind is ProcessKind.WEB else names.WORKER,
        app=release.handle,
        release=release.number,
        process=process.name,
    )
    container: Spec = {
        "Image": release.image.id,
        "Labels": marks,
        "Env": environment(release, process.name, place, port=process.port),
        "Init": True,
        "CapabilityDrop": ["ALL"],
        "StopGracePeriod": int(process.grace * SECOND),
        "Healthcheck": NO_CHECK,
        "Mounts": mounts(release, place.instance),
    }
    words = command_line(release, process)
    if words is not None:
        container["Command"] = list(words)
    return {
        "Name": names.service(place.instance, release.handle, process.name, release.number),
        "Labels": marks,
        "TaskTemplate": {
            "ContainerSpec": container,
            "Resources": _swarm_resources(process.limits),
            "RestartPolicy": {"Condition": "any", "Delay": int(RESTART_DELAY * SECOND)},
            "Networks": [{"Target": place.network, "Aliases": [process.name]}],
            "LogDriver": {"Name": LOG["Type"], "Options": LOG["Config"]},
        },
        "Mode": {"Replicated": {"Replicas": replicas}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def one_off_container(
    release: Release,
    place: Place,
    *,
    kind: str,
    name: str,
    words: tuple[str, ...],
    limits: Limits,
    grace: float,
    extra_labels: dict[str, str] | None = None,
) -> Spec:
    """A plain container that runs `words` once on the release's image with the web's environment and mounts."""
    web = release.spec.web
    return {
        "Image": release.image.id,
        "Labels": {
            **names.labels(place.instance, kind, app=release.handle, release=release.number, process=name),
            **(extra_labels or {}),
        },
        "Env": environment(release, name, place, port=web.port if web is not None else None),
        "Entrypoint": list(words),
        "Cmd": [],
        "StopTimeout": int(grace),
        "Healthcheck": NO_CHECK,
        "HostConfig": {
            **hardening(limits),
            "Mounts": mounts(release, place.instance),
            "NetworkMode": place.network,
        },
        "NetworkingConfig": {"EndpointsConfig": {place.network: {}}},
    }


def hook_words(release: Release, hook: Hook) -> tuple[str, ...]:
    return in_shell(hook.command, hook.shell)


def cron_words(job: CronJob) -> tuple[str, ...]:
    return in_shell(job.command, job.shell)


def stop_words(job: CronJob) -> tuple[str, ...] | None:
    """What is run in the container of a run that is to end, None where SIGTERM is enough."""
    return None if job.stop_command is None else in_shell(job.stop_command, job.shell)


def command_line(release: Release, process: Process) -> tuple[str, ...] | None:
    """What the container runs, None for the image's own command."""
    own = release.image.command
    if not process.before:
        return own if process.command is None else in_shell(process.command, process.shell)
    last = process.command if process.command is not None else shlex.join(own or ())
    first = (f"{{ :\n{line.strip()}\n}}" for line in process.before)  # a line may end in a comment, or in `&`
    return in_shell(" && ".join((*first, last)), Shell.SH)


def environment(release: Release, process: str, place: Place, *, port: int | None) -> list[str]:
    """NAME=value for one process; later sources win: manifest, config, the platform's own."""
    values = {variable.name: variable.value for variable in release.spec.env}
    values.update(release.config)
    values.update(place.extra_env)
    if port is not None and release.spec.port_env:
        values["PORT"] = str(port)
    values.update(
        {
            "LOCKSTEP_APP": release.made_as or release.app,
            "LOCKSTEP_RELEASE": release.label,
            "LOCKSTEP_PROCESS": process,
            "LOCKSTEP_COMMIT": release.commit,
        }
    )
    return [f"{name}={value}" for name, value in sorted(values.items())]


def mounts(release: Release, instance: str) -> list[Spec]:
    """The app's durable folders, the same for every process.

    What the image has there is not copied: it would be the first release's for ever, and take the folder's owner along.
    """
    return [
        {
            "Type": "volume",
            "Source": names.volume(instance, release.handle, folder),
            "Target": f"{APP_DIR}/{folder}",
            "VolumeOptions": {
                "NoCopy": True,
                "Labels": names.labels(instance, names.SERVICE, app=release.handle),
            },
        }
        for folder in release.spec.persist
    ]


def hardening(limits: Limits) -> Spec:
    """The part of a plain container's HostConfig that keeps it in its place."""
    return {
        "Init": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": PIDS,
        "Memory": _memory_ceiling(limits),
        "NanoCpus": 0 if limits.soft else int(limits.cpu * CORE),
        "LogConfig": LOG,
    }


def overlay_network(instance: str, handle: Handle) -> Spec:
    return {
        "Name": names.network(instance, handle),
        "Driver": "overlay",
        "Attachable": True,
        "CheckDuplicate": True,
        "Labels": names.labels(instance, names.PLATFORM, app=handle),
    }


def content_hash(spec: Spec) -> str:
    """A short digest that changes whenever the spec does."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def stamped(spec: Spec) -> Spec:
    """A service's spec with a label that tells what it was made from, whatever is done to it later."""
    content = content_hash({key: value for key, value in spec.items() if key != "Mode"})
    return {**spec, "Labels": {**spec["Labels"], names.CONTENT: content}}


def differs(found: Spec, wanted: Spec) -> bool:
    """Whether a service that was made from `wanted` was changed since, other than in its replicas.

    Swarm fills in what was left out, and names networks by their ids: neither counts. A service that was made from
    another spec, as an older version of ours made it, is left as it is until the next release.
    """
    if found["Labels"].get(names.CONTENT) != stamped(wanted)["Labels"][names.CONTENT]:
        return False
    return any(_departs(found.get(key), wanted[key], key) for key in ("TaskTemplate", "EndpointSpec"))


def _departs(found: Any, wanted: Any, key: str) -> bool:
    if key == "Networks" or not (found or wanted):
        return False
    if key in ("Env", "Labels") or not isinstance(wanted, dict | list):
        return bool(found != wanted)
    if isinstance(wanted, dict):
        return not isinstance(found, dict) or any(_departs(found.get(part), wanted[part], part) for part in wanted)
    pairs = zip(found, wanted, strict=False)
    return len(found or ()) != len(wanted) or any(_departs(one, other, "") for one, other in pairs)


def _swarm_resources(limits: Limits) -> Spec:
    ceiling: Spec = {"MemoryBytes": _memory_ceiling(limits), "Pids": PIDS}
    if not limits.soft:
        return {"Limits": {**ceiling, "NanoCPUs": int(limits.cpu * CORE)}}
    return {"Limits": ceiling, "Reservations": {"NanoCPUs": int(limits.cpu * CORE), "MemoryBytes": limits.memory}}


def _memory_ceiling(limits: Limits) -> int:
    return limits.memory * SOFT_CEILING if limits.soft else limits.memory


def in_shell(line: str, shell: Shell) -> tuple[str, ...]:
    """The words that run `line` so that its last command takes the place of the shell and gets the signals.

    bash and BusyBox do that by themselves, dash does not (it stays, dies of SIGTERM, and the command is killed without
    grace), so both shells mean bash wherever the image has it.
    """
    if shell is Shell.EXEC:
        return tuple(shlex.split(line))
    return ("/bin/sh", "-c", 'command -v bash >/dev/null && exec bash -c "$0"; exec sh -c "$0"', line)
