"""A code-only push of the job board beside its floor: a plain image build and two service updates by hand.

Both are done in turn, each round on a new change of one line, and compared as a ratio. Beside it: what the phases
of a push take, for two processes and for eight, also for a change of config alone; and what both cost more beside
many idle apps, as a ratio to the same just before those were made.
python -m bench.deploy [--rounds N] [--idle-apps N] [-o json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from builder.build import DOCKERFILE
from builder.buildpacks import plan_build
from builder.context import context_tar
from builder.image import build_image
from builder.manifest import read_manifest
from builder.source import CommitSource
from builder.stack import ensure_stack
from runtime.engine.client import Engine
from scripts.driver import Instance, Work, free_port

APP: Final = "jobboard"
FLOOR: Final = "lockstep-bench-floor"
UP_DEADLINE: Final = 60.0  # seconds for the floor's services to run their new image
IDLE: Final = 50
QUICK_IDLE: Final = 10
AT_ONCE: Final = 4  # idle apps that are pushed side by side
PAUSE: Final = re.compile(r"no worker ran for ([0-9.]+) s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--idle-apps", type=int, help="live apps beside the one that is measured; 50 by default")
    parser.add_argument("--quick", action="store_true", help="three rounds, ten idle apps")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    given = parser.parse_args()
    idle = given.idle_apps if given.idle_apps is not None else QUICK_IDLE if given.quick else IDLE
    folder = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
    instance = Instance(folder / "home", name=f"bench-{folder.name[-6:].lower().replace('_', 'x')}",
                        ssh_port=free_port(), http_port=free_port())  # fmt: skip
    instance.init()
    try:
        instance.start()
        figures = measure(instance, folder, 3 if given.quick else given.rounds, idle)
    finally:
        instance.stop()
        instance.destroy()
        shutil.rmtree(folder)
    if given.output == "json":
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name:<52} {value}", flush=True)
    return 0


def measure(instance: Instance, folder: Path, rounds: int, idle: int) -> dict[str, str]:
    """Medians of each figure, as texts with their unit."""
    work = Work.of_example(APP, folder / "work")
    pushed(instance, work, APP)
    return {
        **beside_the_floor(instance, work, rounds),
        **eight_processes(instance, folder, rounds),
        **beside_idle_apps(instance, work, folder, rounds, idle),
    }


def beside_the_floor(instance: Instance, work: Work, rounds: int) -> dict[str, str]:
    asyncio.run(floor(work))
    ours: list[Pushed] = []
    theirs: list[float] = []
    try:
        for _ in range(rounds):
            change(work)
            ours.append(pushed(instance, work, APP))
            theirs.append(asyncio.run(floor(work)))
    finally:
        asyncio.run(remove_floor())
    ratios = [one.seconds / other for one, other in zip(ours, theirs, strict=True)]
    figures = {
        "code-only push, wall": _seconds([one.seconds for one in ours]),
        "floor: image build and two service updates": _seconds(theirs),
        "ratio": f"{statistics.median(ratios):.2f}x",
        "no worker ran for": _seconds([one.pause for one in ours]),
        "cut-over (commit and switch)": _milliseconds([one.cut_over for one in ours]),
    }
    for name in ("build", "stage", "quiesce", "start", "retire"):
        figures[f"phase {name}"] = _seconds([one.phases.get(name, 0.0) for one in ours])
    return {**figures, "config-only change, wall": _seconds([configured(instance, APP) for _ in range(rounds)])}


def eight_processes(instance: Instance, folder: Path, rounds: int) -> dict[str, str]:
    """A web and seven workers, to see that processes start beside each other."""
    work = Work.of_example("dockerfile", folder / "eight")
    workers = "".join(f"  - name: clock{number}\n    start: python3 clock.py\n" for number in range(7))
    work.write({".paas/app.yaml": f"runtime: dockerfile\ndockerfile: Dockerfile\nworkers:\n{workers}"})
    work.commit()
    pushed(instance, work, "eight")
    results = []
    for number in range(rounds):
        work.write({"clock.py": (work.path / "clock.py").read_text() + f"# change {number}\n"})
        work.commit()
        results.append(pushed(instance, work, "eight"))
    return {
        "8 processes: code-only push, wall": _seconds([one.seconds for one in results]),
        "8 processes: no worker ran for": _seconds([one.pause for one in results]),
        "8 processes: cut-over (commit and switch)": _milliseconds([one.cut_over for one in results]),
        "8 processes: config-only change, wall": _seconds([configured(instance, "eight") for _ in range(rounds)]),
    }


def beside_idle_apps(instance: Instance, work: Work, folder: Path, rounds: int, idle: int) -> dict[str, str]:
    """The same pushes and config changes before and after `idle` small apps went live."""

    def both() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {"code-only push": [], "cut-over": [], "config-only change": []}
        for _ in range(rounds):
            change(work)
            one = pushed(instance, work, APP)
            found["code-only push"].append(one.seconds)
            found["cut-over"].append(one.cut_over)
            found["config-only change"].append(configured(instance, APP))
        return found

    before = both()
    began = time.monotonic()
    make_idle_apps(instance, folder, idle)
    took = time.monotonic() - began
    after = both()
    figures = {f"{idle} idle apps, all live after": f"{took:.0f} s"}
    for name, values in after.items():
        ratio = statistics.median(values) / statistics.median(before[name])
        shown = _milliseconds if name == "cut-over" else _seconds
        figures[f"beside {idle} idle apps: {name}"] = f"{shown(values)}, {ratio:.2f}x of {shown(before[name])}"
    return figures


def make_idle_apps(instance: Instance, folder: Path, idle: int) -> None:
    """Each has one web; their files are the same, so that only the first is built."""
    files = {"Dockerfile": 'FROM lockstep/run:latest\nCMD ["python3", "-m", "http.server", "5000"]\n'}
    files[".paas/app.yaml"] = "runtime: dockerfile\nport: 5000\n"
    work = Work.of_files(files, folder / "idle")

    def push(number: int) -> None:
        done = instance.push(work, f"idle-{number}")
        if done.code:
            raise SystemExit(f"the push of an idle app failed:\n{done.err}")

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(push, range(idle)))


@dataclass(frozen=True)
class Pushed:
    """How one push went."""

    seconds: float  # from its start to its end, as the pusher sees it
    pause: float  # seconds during which no worker ran
    phases: dict[str, float]

    @property
    def cut_over(self) -> float:
        return self.phases["commit"] + self.phases["switch"]


def pushed(instance: Instance, work: Work, app: str) -> Pushed:
    done = instance.push(work, app)
    if done.code:
        raise SystemExit(f"the push failed:\n{done.err}")
    found = PAUSE.search(done.err)
    return Pushed(done.seconds, float(found[1]) if found else 0.0, phases_of(instance, app))


def phases_of(instance: Instance, app: str) -> dict[str, float]:
    number = instance.json("deploys", app)[0]["deploy"]
    found: dict[str, float] = instance.json("deploys:info", app, str(number))["phases"]
    return found


def configured(instance: Instance, app: str) -> float:
    done = instance.ssh("config:set", app, f"BENCH={secrets.token_hex(4)}")
    if done.code:
        raise SystemExit(f"config:set failed:\n{done.all}")
    return done.seconds


def change(work: Work) -> None:
    file = work.path / "app" / "web.py"
    file.write_text(file.read_text() + f"\n# change {secrets.token_hex(4)}\n")
    work.commit()


# ---- the floor: the same Dockerfile and context, the engine asked directly ------------------------------------


async def floor(work: Work) -> float:
    """Build the work tree's commit and have two services run it; wall seconds."""
    async with Engine() as engine:
        stack = await ensure_stack(engine, lambda text: None)
        with CommitSource(work.path / ".git", work.git("rev-parse", "HEAD").strip()) as source:
            spec = read_manifest(source).spec
            plan = plan_build(spec, source, stack, cache_scope=FLOOR)
            context = b"".join(context_tar(source, {**plan.files, DOCKERFILE: plan.dockerfile.encode()}))
        began = time.monotonic()
        image = await build_image(
            engine,
            dockerfile_path=DOCKERFILE,
            context=_once(context),
            labels={},
            tag=f"{FLOOR}:latest",
            build_args={},
            no_cache=False,
            deadline=600.0,
            report=lambda event: None,
        )
        await asyncio.gather(*(_serve(engine, name, image) for name in ("web", "worker")))
        return time.monotonic() - began


async def _serve(engine: Engine, name: str, image: str) -> None:
    """A service that sleeps in the image, updated the ordinary way: start first, then stop."""
    spec: dict[str, Any] = {
        "Name": f"{FLOOR}-{name}",
        "TaskTemplate": {
            "ContainerSpec": {"Image": image, "Command": ["sleep", "1000000"], "Init": True, "StopGracePeriod": 10**9}
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "UpdateConfig": {"Order": "start-first", "Parallelism": 1},
    }
    found = await engine.get("/services", filters={"name": [spec["Name"]]})
    if not found:
        await engine.post("/services/create", spec)
    else:
        await engine.post(f"/services/{found[0]['ID']}/update", spec, version=found[0]["Version"]["Index"])
    deadline = time.monotonic() + UP_DEADLINE
    while not await _runs_alone(engine, spec["Name"], image):
        if time.monotonic() > deadline:
            raise SystemExit(f"the floor's {name} did not come up")
        await asyncio.sleep(0.02)


async def _runs_alone(engine: Engine, name: str, image: str) -> bool:
    tasks = await engine.get("/tasks", filters={"service": [name], "desired-state": ["running"]})
    states = [(task["Spec"]["ContainerSpec"]["Image"], task["Status"]["State"]) for task in tasks]
    return states == [(image, "running")]


async def remove_floor() -> None:
    async with Engine() as engine:
        for service in await engine.get("/services", filters={"name": [FLOOR]}):
            await engine.delete(f"/services/{service['ID']}")


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _seconds(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} s  ({min(values):.2f} to {max(values):.2f})"


def _milliseconds(values: list[float]) -> str:
    low, middle, high = (1000 * value for value in (min(values), statistics.median(values), max(values)))
    return f"{middle:.0f} ms  ({low:.0f} to {high:.0f})"


if __name__ == "__main__":
    sys.exit(main())
