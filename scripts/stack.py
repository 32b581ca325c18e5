"""Build the base images ahead of the first server, or remove them."""

from __future__ import annotations

import argparse
import asyncio
import sys

from builder.stack import ensure_platform, ensure_stack
from runtime.engine.client import Engine
from runtime.errors import LockstepError, explain

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
