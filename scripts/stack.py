"""Make the engine ready for instances: its swarm and the base images; or remove the images."""

from __future__ import annotations

import argparse
import asyncio
import sys

from builder.stack import ensure_platform, ensure_stack
from runtime.engine.client import Engine
from runtime.engine.events import Events
from runtime.engine.fleet import Fleet
from runtime.errors import LockstepError, explain

NOBODY = "setup"  # no instance: nothing that is made here belongs to one
IMAGES = ("lockstep/platform", "lockstep/static", "lockstep/build", "lockstep/run", "lockstep/base", "lockstep/debian")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--remove", action="store_true", help="remove them instead")
    remove = parser.parse_args().remove
    try:
        asyncio.run(_remove() if remove else _build())
    except LockstepError as error:
        print(f"lockstep: {explain(error)}", file=sys.stderr)
        return 1
    return 0


async def _build() -> None:
    async with Engine() as engine:
        if await Fleet(engine, Events(engine, NOBODY), NOBODY).ensure_swarm():
            _say("made the engine a swarm of one node")
        await ensure_stack(engine, _say)
        await ensure_platform(engine, _say)


async def _remove() -> None:
    async with Engine() as engine:
        for image in await engine.get("/images/json", filters={"reference": list(IMAGES)}):
            for tag in image["RepoTags"] or ():
                await engine.delete(f"/images/{tag}", force=True)


def _say(text: str) -> None:
    print(f"-----> {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
