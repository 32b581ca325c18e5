"""What the engine is asked to run, compared whole."""

from __future__ import annotations

import copy
import subprocess
from typing import Any

import pytest

from runtime.engine import specs
from runtime.engine.specs import Place
from runtime.model import GIB, MIB, EnvVar, Hook, Limits, Process, Shell
from runtime.names import Handle
from tests.unit.runtime.samples import COMMIT, IMAGE, cron, release, web, worker

PLACE = Place("lockstep", "lockstep-shop")
TRY_BASH = 'command -v bash >/dev/null && exec bash -c "$0"; exec sh -c "$0"'


def env_of(process: str, *more: str, label: str = "v1") -> list[str]:
    own = (
        "LOCKSTEP_APP=shop",
        f"LOCKSTEP_COMMIT={COMMIT}",
        f"LOCKSTEP_PROCESS={process}",
        f"LOCKSTEP_RELEASE={label}",
    )
    return sorted((*own, *more), key=lambda line: line.partition("=")[0])


def sh(line: str) -> list[str]:
    return ["/bin/sh", "-c", TRY_BASH, line]


def test_web_service() -> None:
    process = web(replicas=2, limits=Limits(cpu=0.5, memory=256 * MIB), grace=30.0)
    made = specs.process_service(release(process, number=7), process, PLACE, replicas=2)
    labels = {
        "lockstep.instance": "lockstep",
        "lockstep.kind": "web",
        "lockstep.app": "shop",
        "lockstep.release": "7",
        "lockstep.process": "web",
    }
    assert made == {
        "Name": "lockstep-shop-web-v7",
        "Labels": labels,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": IMAGE.id,
                "Labels": labels,
                "Env": env_of("web", "PORT=5000", label="v7"),
                "Init": True,
                "CapabilityDrop": ["ALL"],
                "StopGracePeriod": 30_000_000_000,
                "Healthcheck": {"Test": ["NONE"]},
                "Mounts": [],
                "Command": ["gunicorn", "app:app"],
            },
            "Resources": {"Limits": {"MemoryBytes": 256 * MIB, "Pids": 1024, "NanoCPUs": 500_000_000}},
            "RestartPolicy": {"Condition": "any", "Delay": 1_000_000_000},
            "Networks": [{"Target": "lockstep-shop", "Aliases": ["web"]}],
            "LogDriver": {"Name": "json-file", "Options": {"max-size": "10m", "max-file": "3"}},
        },
        "Mode": {"Replicated": {"Replicas": 2}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def test_worker_service() -> None:
    process = worker("send_mail", limits=Limits(cpu=0.25, memory=128 * MIB))
    made = specs.process_service(release(web(), process, persist=("data",)), process, PLACE, replicas=0)
    labels = {
        "lockstep.instance": "lockstep",
        "lockstep.kind": "worker",
        "lockstep.app": "shop",
        "lockstep.release": "1",
        "lockstep.process": "send_mail",
    }
    mount = {
        "Type": "volume",
        "Source": "lockstep-shop-data",
        "Target": "/app/data",
        "VolumeOptions": {
            "NoCopy": True,
            "Labels": {"lockstep.instance": "lockstep", "lockstep.kind": "service", "lockstep.app": "shop"},
        },
    }
    assert made.pop("Name").startswith("lockstep-shop-send-mail-v1-")
    assert made == {
        "Labels": labels,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": IMAGE.id,
                "Labels": labels,
                "Env": env_of("send_mail"),
                "Init": True,
                "CapabilityDrop": ["ALL"],
                "StopGracePeriod": 15_000_000_000,
                "Healthcheck": {"Test": ["NONE"]},
                "Mounts": [mount],
                "Command": sh("python mail.py"),
            },
            "Resources": {"Limits": {"MemoryBytes": 128 * MIB, "Pids": 1024, "NanoCPUs": 250_000_000}},
            "RestartPolicy": {"Condition": "any", "Delay": 1_000_000_000},
            "Networks": [{"Target": "lockstep-shop", "Aliases": ["send_mail"]}],
            "LogDriver": {"Name": "json-file", "Options": {"max-size": "10m", "max-file": "3"}},
        },
        "Mode": {"Replicated": {"Replicas": 0}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def test_one_off_container() -> None:
    hook = Hook(name="migrate", command="python manage.py migrate", limits=Limits(cpu=2, memory=GIB))
    made_of = release(web(), persist=("data",), config={"KEY": "value"})
    made = specs.one_off_container(
        made_of,
        PLACE,
        kind="hook",
        name="migrate",
        words=specs.hook_words(made_of, hook),
        limits=hook.limits,
        grace=10.0,
        extra_labels={"lockstep.deploy": "4"},
    )
    assert made == {
        "Image": IMAGE.id,
        "Labels": {
            "lockstep.instance": "lockstep",
            "lockstep.kind": "hook",
            "lockstep.app": "shop",
            "lockstep.release": "1",
            "lockstep.process": "migrate",
            "lockstep.deploy": "4",
        },
        "Env": env_of("migrate", "KEY=value", "PORT=5000"),
        "Entrypoint": sh("python manage.py migrate"),
        "Cmd": [],
        "StopTimeout": 10,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "Init": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": 1024,
            "Memory": GIB,
            "NanoCpus": 2_000_000_000,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            "Mounts": specs.mounts(made_of, "lockstep"),
            "NetworkMode": "lockstep-shop",
        },
        "NetworkingConfig": {"EndpointsConfig": {"lockstep-shop": {}}},
    }


def test_overlay_network() -> None:
    assert specs.overlay_network("lockstep", Handle("shop")) == {
        "Name": "lockstep-shop",
        "Driver": "overlay",
        "Attachable": True,
        "CheckDuplicate": True,
        "Labels": {"lockstep.instance": "lockstep", "lockstep.kind": "platform", "lockstep.app": "shop"},
    }


def test_soft_limits_are_a_share_with_room_above() -> None:
    process = worker(limits=Limits(cpu=0.5, memory=256 * MIB, soft=True))
    made = specs.process_service(release(process), process, PLACE, replicas=1)
    assert made["TaskTemplate"]["Resources"] == {
        "Limits": {"MemoryBytes": 512 * MIB, "Pids": 1024},
        "Reservations": {"NanoCPUs": 500_000_000, "MemoryBytes": 256 * MIB},
    }
    plain = specs.hardening(process.limits)
    assert (plain["NanoCpus"], plain["Memory"]) == (0, 512 * MIB)


@pytest.mark.parametrize(
    ("process", "words"),
    [
        (worker(command="a | b"), sh("a | b")),
        (worker(command="a | b", shell=Shell.BASH), sh("a | b")),
        (worker(command="a 'b c' $D", shell=Shell.EXEC), ["a", "b c", "$D"]),
        (worker(command=None), ["gunicorn", "app:app"]),
        (worker(command="run", before=("one;", " two ")), sh("{ :\none;\n} && { :\ntwo\n} && run")),
        (worker(command=None, before=("one",)), sh("{ :\none\n} && gunicorn app:app")),
        (worker(command="run", shell=Shell.EXEC, before=("one",)), sh("{ :\none\n} && run")),
    ],
)
def test_command_line(process: Process, words: list[str]) -> None:
    made = specs.process_service(release(process), process, PLACE, replicas=1)
    assert made["TaskTemplate"]["ContainerSpec"]["Command"] == words


def test_image_without_a_command_keeps_its_own() -> None:
    process = web(command=None)
    made_of = release(process, image=IMAGE.model_copy(update={"command": None}))
    made = specs.process_service(made_of, process, PLACE, replicas=1)
    assert "Command" not in made["TaskTemplate"]["ContainerSpec"]


@pytest.mark.parametrize(
    ("before", "command", "out", "code"),
    [
        (("echo one", "echo two"), "echo three", "one\ntwo\nthree\n", 0),
        (("echo one; false",), "echo three", "one\n", 1),
        (("exit 7",), "echo three", "", 7),
        (("false || echo kept",), "exit 3", "kept\n", 3),
        (("cd /",), "pwd", "/\n", 0),
        (("export A=1", "# nothing"), "echo $A", "1\n", 0),
        (("echo one # said",), "echo two", "one\ntwo\n", 0),
        (("echo one;",), "echo two", "one\ntwo\n", 0),
        (("true &", "wait"), "echo two", "two\n", 0),
    ],
)
def test_before_chain_stops_at_its_first_failure(before: tuple[str, ...], command: str, out: str, code: int) -> None:
    words = specs.command_line(release(), worker(command=command, before=before))
    assert words is not None
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (out, code)


def test_cron_words_follow_its_shell() -> None:
    assert specs.cron_words(cron(command="a b")) == tuple(sh("a b"))
    assert specs.cron_words(cron(command="a b", shell=Shell.EXEC)) == ("a", "b")


def test_later_sources_of_the_environment_win() -> None:
    process = web(port=8000)
    made_of = release(
        process,
        env=(
            EnvVar(name="A", value="manifest"),
            EnvVar(name="B", value="manifest"),
            EnvVar(name="C", value="manifest"),
            EnvVar(name="PORT", value="1"),
        ),
        config={"B": "config", "C": "config", "PORT": "2"},
    )
    place = Place("lockstep", "lockstep-shop", (("C", "platform"), ("REDIS_URL", "redis://x")))
    expected = env_of("web", "A=manifest", "B=config", "C=platform", "PORT=8000", "REDIS_URL=redis://x")
    assert specs.environment(made_of, "web", place, port=8000) == expected


def test_port_is_told_only_where_the_dialect_says_so() -> None:
    process = web()
    made_of = release(process, port_env=False)
    assert specs.environment(made_of, "web", PLACE, port=5000) == env_of("web")
    assert specs.environment(release(), "mailer", PLACE, port=None) == env_of("mailer")


def test_own_variables_have_the_last_word() -> None:
    place = Place("lockstep", "n", (("LOCKSTEP_RELEASE", "v99"),))
    assert "LOCKSTEP_RELEASE=v1" in specs.environment(release(), "web", place, port=None)


def test_service_that_another_version_made_is_left_as_it_is() -> None:
    process = web()
    wanted = specs.process_service(release(process), process, PLACE, replicas=1)
    older: dict[str, Any] = copy.deepcopy(wanted)
    del older["TaskTemplate"]["ContainerSpec"]["Healthcheck"]
    assert not specs.differs(specs.stamped(older), wanted)
    found = specs.stamped(wanted)
    assert not specs.differs(found, wanted)
    assert specs.differs({**found, "TaskTemplate": older["TaskTemplate"]}, wanted)


def test_content_hash_follows_the_content_alone() -> None:
    one: dict[str, Any] = {"a": 1, "b": {"c": [1, 2]}}
    same: dict[str, Any] = {"b": {"c": [1, 2]}, "a": 1}
    assert specs.content_hash(one) == specs.content_hash(same)
    assert specs.content_hash(one) != specs.content_hash({**one, "a": 2})
