"""Apps that bring a Dockerfile whose image has less than others, or more: no bash, no shell, a check of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.driver import Instance, Work

pytestmark = pytest.mark.engine

WEB = """\
import http.server, sys

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"served by an own image")

http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Page).serve_forever()
"""
DOCKERFILE = """\
FROM lockstep/run:latest
COPY web.py ./
USER root
RUN rm {removed}
USER 1234
HEALTHCHECK --interval=1s --retries=1 CMD ["false"]
"""
FILES = {
    "Dockerfile": DOCKERFILE.format(removed="/bin/bash"),
    ".dockerignore": "**/Dockerfile*\n",
    "requirements.txt": "lockstep-no-such-package\n",
    "Procfile": "web: python3 web.py $PORT\n",
    "web.py": WEB,
}


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work.of_files(FILES, tmp_path / "work")


def test_an_image_without_bash_runs_a_procfile(instance: Instance, app: str, work: Work) -> None:
    done = instance.push(work, app)
    assert done.code == 0, done.err
    assert "Building with dockerfile" in done.err
    assert "HEALTHCHECK of the image is not used" in done.err
    assert instance.get(app) == (200, "served by an own image")

    work.write({"Procfile": FILES["Procfile"] + "crasher: kill -9 $$\n"})
    work.commit()
    failed = instance.push(work, app)
    assert failed.code == 1
    assert "crasher exited with 137 after its start: it was killed, and not for want of memory" in failed.err
    assert instance.json("apps:info", app)["release"] == "v1"


def test_an_image_without_a_shell_runs_words(instance: Instance, app: str, work: Work) -> None:
    work.write({"Dockerfile": DOCKERFILE.format(removed="/bin/bash /bin/dash /bin/sh")})
    work.commit()
    failed = instance.push(work, app)
    assert failed.code == 1
    assert "web can not be run: '$' in its command needs a shell, and the image has no /bin/sh" in failed.err

    work.write({"Procfile": "web: python3 web.py 5000\nrelease: python3 -c \"print('migrated; done')\"\n"})
    work.commit()
    done = instance.push(work, app)
    assert done.code == 0, done.err
    assert "the image has no /bin/sh: commands are run without a shell" in done.err
    assert "migrated; done" in done.err
    assert instance.get(app) == (200, "served by an own image")
