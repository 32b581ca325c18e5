"""Apps see neither each other's processes nor each other's keys; instances leave each other alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.driver import Instance, Work, run
from tests.instances import new_instance

pytestmark = pytest.mark.engine

WEB = """\
import http.server, os

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"this is {os.environ['LOCKSTEP_APP']}\\n".encode())

http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Page).serve_forever()
"""
FILES = {
    ".paas/app.yaml": "runtime: dockerfile\ndockerfile: Dockerfile\nredis: true\npersist: [data]\n",
    "Dockerfile": """\
FROM lockstep/run:latest
COPY web.py ./
USER root
RUN mkdir data && touch data/of-the-image
USER 1234
CMD ["python3", "web.py"]
""",
    "web.py": WEB,
}
# Speaks RESP with nothing but sockets: the words of a command in, the raw answer out.
ASK = """\
import os, socket, sys
from urllib.parse import urlsplit
url = urlsplit(os.environ["REDIS_URL"])
def say(*words):
    out = b"*%d\\r\\n" % len(words)
    for word in words:
        out += b"$%d\\r\\n%s\\r\\n" % (len(word), word.encode())
    link.sendall(out)
    return link.recv(65536).decode(errors="replace")
link = socket.create_connection((url.hostname, url.port), 5)
if sys.argv[1] != "anonymous":
    assert say("AUTH", url.username, url.password).startswith("+OK")
print(say(*sys.argv[2:]), end="")
"""


def web_of(instance: Instance, app: str) -> str:
    """The container of the app's web."""
    words = ["docker", "ps", "-q", "--filter", f"label=lockstep.app={app}"]
    words += ["--filter", f"label=lockstep.instance={instance.name}", "--filter", "label=lockstep.kind=web"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def inside(container: str, *words: str) -> str:
    done = run(["docker", "exec", container, *words])
    return done.all


@pytest.fixture
def pair(instance: Instance, app: str, tmp_path: Path) -> tuple[str, str]:
    """Two live apps; their names."""
    other = f"{app}-b"
    work = Work.of_files(FILES, tmp_path / "work")
    for name in (app, other):
        done = instance.push(work, name)
        assert done.code == 0, done.err
    return app, other


def test_an_app_sees_its_own_keys_and_no_others(instance: Instance, pair: tuple[str, str]) -> None:
    mine, theirs = pair
    web = web_of(instance, mine)

    def ask(*words: str, who: str = "own") -> str:
        return inside(web, "python3", "-c", ASK, who, *words)

    assert ask("SET", f"{mine}:key", "value") == "+OK\r\n"
    assert ask("GET", f"{mine}:key") == "$5\r\nvalue\r\n"
    assert ask("PUBLISH", f"{mine}:news", "hello") == ":0\r\n"
    for words in (
        ("GET", f"{theirs}:key"),
        ("SET", f"{theirs}:key", "value"),
        ("SUBSCRIBE", f"{theirs}:news"),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("RANDOMKEY",),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("MONITOR",),
        ("EVAL", "return redis.call('GET', KEYS[1])", "1", f"{theirs}:key"),
    ):
        assert ask(*words).startswith(("-NOPERM", "-ERR The user executing the script", "-NOPERM")), words
    assert ask("GET", f"{mine}:key", who="anonymous").startswith("-NOAUTH")


def test_an_app_does_not_reach_another_apps_web(instance: Instance, pair: tuple[str, str]) -> None:
    mine, theirs = pair
    words = ["docker", "inspect", "--format", "{{json .NetworkSettings.Networks}}", web_of(instance, theirs)]
    networks = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    addresses = [network["IPAddress"] for network in networks.values() if network["IPAddress"]]
    assert addresses
    fetch = (
        "import sys, urllib.request\n"
        "for url in sys.argv[1:]:\n"
        "    try: print(urllib.request.urlopen(url, timeout=3).read().decode())\n"
        "    except Exception as error: print(type(error).__name__)\n"
    )
    urls = [f"http://{address}:8000/" for address in addresses]
    own = "http://127.0.0.1:8000/"
    answered = inside(web_of(instance, mine), "python3", "-c", fetch, own, *urls)
    assert f"this is {mine}" in answered
    assert f"this is {theirs}" not in answered


def test_a_persistent_folder_begins_empty_is_writable_and_outlives_a_release(
    instance: Instance, pair: tuple[str, str]
) -> None:
    app, _ = pair
    assert inside(web_of(instance, app), "sh", "-c", "id -u; ls /app/data; echo kept > /app/data/file") == "1234\n"
    assert instance.ssh("config:set", app, "A=b").code == 0
    assert inside(web_of(instance, app), "cat", "/app/data/file") == "kept\n"


@pytest.fixture
def neighbour(worker_id: str) -> Iterator[Instance]:
    with new_instance(f"next-{worker_id}") as instance:
        yield instance


def test_an_instance_is_destroyed_without_touching_its_neighbour(
    instance: Instance, neighbour: Instance, app: str, tmp_path: Path
) -> None:
    work = Work.of_files(FILES, tmp_path / "work")
    for each in (instance, neighbour):
        done = each.push(work, app)
        assert done.code == 0, done.err
    neighbour.stop()
    destroyed = neighbour.destroy()
    assert destroyed.code == 0, destroyed.err
    for listing in (["service", "ls"], ["ps", "-a"], ["network", "ls"], ["volume", "ls"], ["images"]):
        words = ["docker", *listing, "-q", "--filter", f"label=lockstep.instance={neighbour.name}"]
        assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == "", listing
    assert instance.get(app)[1] == f"this is {app}\n"
