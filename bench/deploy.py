"""A code-only push of the job board beside its floor: a plain image build and two service updates by hand.

Both are done in turn, each round on a new change of one line, and compared as a ratio. Beside it: what the
phases of a push take, for one process and for eight, and for a change of config alone.
python -m bench.deploy [--rounds N] [-o json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
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
PAUSE: Final = re.compile(r"no worker ran for ([0-9.]+) s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="three rounds")
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lockstep-bench-"))
    instance = Instance(folder / "home", name=f"bench-{folder.name[-6:].lower().replace('_', 'x')}",
                        ssh_port=free_port(), http_port=free_port())  # fmt: skip
    instance.init()
    try:
        instance.start()
        figures = measure(instance, folder, 3 if given.quick else given.rounds)
    finally:
        instance.stop()
        instance.destroy()
        shutil.rmtree(folder)
    if given.output == "json":
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name:<52} {value}")
    return 0


def measure(instance: Instance, folder: Path, rounds: int) -> dict[str, str]:
    """Medians of each figure, as texts with their unit."""
    work = Work.of_example(APP, folder / "work")
    pushed(instance, work, APP)
    asyncio.run(floor(work))
    ours: list[float] = []
    theirs: list[float] = []
    pauses: list[float] = []
    phases: list[dict[str, float]] = []
    try:
        for number in range(rounds):
            change(work, number)
            seconds, pause, phase = pushed(instance, work, APP)
            ours.append(seconds)
            pauses.append(pause)
            phases.append(phase)
            theirs.append(asyncio.run(floor(work)))
    finally:
        asyncio.run(remove_floor())
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    figures = {
        "code-only push, wall": _seconds(ours),
        "floor: image build and two service updates": _seconds(theirs),
        "ratio": f"{statistics.median(ratios):.2f}x",
        "no worker ran for": _seconds(pauses),
        "cut-over (commit and switch)": _seconds([one["commit"] + one["switch"] for one in phases]),
    }
    for name in ("build", "stage", "quiesce", "start", "retire"):
        figures[f"phase {name}"] = _seconds([one.get(name, 0.0) for one in phases])
    figures["config-only change, wall"] = _seconds([configured(instance, number) for number in range(rounds)])
    many = eight_processes(instance, folder, rounds)
    return {**figures, **many}


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
        "code-only push with 8 processes, wall": _seconds([one[0] for one in results]),
        "no worker ran for, with 8 processes": _seconds([one[1] for one in results]),
    }


def pushed(instance: Instance, work: Work, app: str) -> tuple[float, float, dict[str, float]]:
    """Push; wall seconds, seconds without a worker, seconds of each phase."""
    done = instance.push(work, app)
    if done.code:
        raise SystemExit(f"the push failed:\n{done.err}")
    found = PAUSE.search(done.err)
    return done.seconds, float(found[1]) if found else 0.0, phases_of(instance, app)


def phases_of(instance: Instance, app: str) -> dict[str, float]:
    number = instance.json("deploys", app)[0]["deploy"]
    found: dict[str, float] = instance.json("deploys:info", app, str(number))["phases"]
    return found


def configured(instance: Instance, number: int) -> float:
    done = instance.ssh("config:set", APP, f"BENCH={number}")
    if done.code:
        raise SystemExit(f"config:set failed:\n{done.all}")
    return done.seconds


def change(work: Work, number: int) -> None:
    file = work.path / "app" / "web.py"
    file.write_text(file.read_text() + f"\n# change {number}\n")
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


if __name__ == "__main__":
    sys.exit(main())
