"""`make demo`: a server, the job board pushed to it, and a look at each of its parts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from scripts.driver import ROOT, DriverError, Instance, Work, port_taken, until

HOME: Final = Path(os.environ.get("LOCKSTEP_DEMO_HOME", ROOT / ".demo" / "home"))
NAME: Final = os.environ.get("LOCKSTEP_DEMO_INSTANCE", "lockstep-demo")
SSH_PORT: Final = int(os.environ.get("LOCKSTEP_DEMO_SSH_PORT", "2222"))
HTTP_PORT: Final = int(os.environ.get("LOCKSTEP_DEMO_HTTP_PORT", "8080"))
APP: Final = "jobboard"


def demo_instance() -> Instance:
    return Instance(HOME, name=NAME, ssh_port=SSH_PORT, http_port=HTTP_PORT)


def main() -> int:
    instance = demo_instance()
    try:
        _start(instance)
        _push(instance)
        _show(instance)
    except DriverError as error:
        print(f"lockstep: {error}", file=sys.stderr)
        return 1
    _next_steps(instance)
    return 0


def _start(instance: Instance) -> None:
    if instance.pid is not None:
        _say(f"The server is running already, process {instance.pid}")
        return
    known = (HOME / "lockstep.toml").exists()
    for port in (SSH_PORT, *(() if known else (HTTP_PORT,))):
        if port_taken(port):
            which = "SSH" if port == SSH_PORT else "HTTP"
            raise DriverError(f"port {port} is taken: stop what listens there, or set LOCKSTEP_DEMO_{which}_PORT")
    _say(f"Making an instance in {_short(HOME)}")
    instance.init()
    _say("Starting its server")
    instance.start(lambda line: print(f"       {line}", flush=True))


def _push(instance: Instance) -> None:
    """The same as a developer's `git push`, shown as it runs."""
    with tempfile.TemporaryDirectory() as folder:
        work = Work.of_example(APP, Path(folder) / APP)
        _say(f"git push {instance.url(APP)} main")
        done = subprocess.run(
            ["git", "-C", str(work.path), "push", "--force", instance.url(APP), "main"],
            env={**os.environ, **instance.git_environment()},
            check=False,
        )
    if done.returncode:
        raise DriverError(f"the push ended with {done.returncode}: see the lines above")


def _show(instance: Instance) -> None:
    _say("The web process answers through the router, and takes a posting")
    form = "title=Engineer&company=Lockstep&place=Bern&text=Keeps+all+parts+of+a+release+together&days=30"
    status, _ = instance.get(APP, "/postings", method="POST", body=form)
    if status not in (200, 201, 302, 303):
        raise DriverError(f"the job board answered {status} to a posting")
    _say("The worker puts it into the search index")
    until(lambda: "Engineer" in instance.get(APP, "/?q=together")[1], "the posting in the search index", 30)
    _say("The cron job runs now")
    print(_command(instance, "cron:run", APP, "stale_cleanup", "-f"), end="")
    _say("Each part and its release")
    print(_command(instance, "ps", APP), end="")
    print(instance.get(APP, "/releases.json")[1].strip())


def _command(instance: Instance, *words: str) -> str:
    done = instance.ssh(*words)
    if done.code:
        raise DriverError(f"{' '.join(words)} ended with {done.code}: {done.err.strip()}")
    return done.out


def _next_steps(instance: Instance) -> None:
    ssh = f"ssh -i {_short(instance.key)} -p {SSH_PORT} paas@localhost --"
    print(f"""
=====> The job board is live: http://{APP}.localhost:{HTTP_PORT}/

       {ssh} help
       {ssh} logs {APP} -f
       {ssh} cron {APP}
       {ssh} releases {APP}

       make stop   stops the demo and removes all it made""")


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _say(text: str) -> None:
    print(f"-----> {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
