"""The shared Redis: its container compared whole, and what an app's user may not do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from runtime.names import Handle
from runtime.place import redis_url
from runtime.services import redis
from tests.unit.runtime import samples


def test_container(tmp_path: Path) -> None:
    made = redis.container(samples.settings(tmp_path), "sha256:1", "hunter2")
    words = made.pop("Cmd")
    assert made == {
        "Image": "sha256:1",
        "Labels": {"lockstep.instance": "lockstep", "lockstep.kind": "platform", "lockstep.process": "redis"},
        "Entrypoint": ["/bin/sh", "-c", redis.FIRST_START, "redis-server"],
        "Env": [f"ADMIN=user default on #{hashlib.sha256(b'hunter2').hexdigest()} ~* &* +@all"],
        "HostConfig": {
            "Init": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "PidsLimit": 1024,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            "RestartPolicy": {"Name": "always"},
            "NetworkMode": "lockstep-shared-services",
            "Mounts": [
                {"Type": "bind", "Source": str(tmp_path / "run/redis"), "Target": "/run/lockstep"},
                {
                    "Type": "volume",
                    "Source": "lockstep-redis",
                    "Target": "/var/lib/redis",
                    "VolumeOptions": {
                        "NoCopy": True,
                        "Labels": {"lockstep.instance": "lockstep", "lockstep.kind": "platform"},
                    },
                },
            ],
        },
    }
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert given == {
        "--bind": "*",
        "--port": "6379",
        "--protected-mode": "no",
        "--unixsocket": "/run/lockstep/redis.sock",
        "--unixsocketperm": "700",
        "--dir": "/var/lib/redis",
        "--aclfile": "/var/lib/redis/users.acl",
        "--appendonly": "yes",
        "--maxmemory": str(512 * 2**20),
        "--maxmemory-policy": "noeviction",
    }


def test_password_of_the_admin_is_not_in_the_container(tmp_path: Path) -> None:
    assert "hunter2" not in str(redis.container(samples.settings(tmp_path), "sha256:1", "hunter2"))


@pytest.mark.parametrize("command", ["scan", "randomkey", "dbsize", "function", "script|flush", "pubsub"])
def test_commands_that_reach_beyond_an_app_are_taken_away(command: str) -> None:
    assert f"-{command}" in redis.COMMANDS
    assert {"-@admin", "-@dangerous"} <= set(redis.CATEGORIES)


def test_url_names_user_and_first_database() -> None:
    assert redis_url(Handle("shop"), "hunter2") == "redis://shop:hunter2@redis:6379/0"
