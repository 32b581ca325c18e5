"""`make stop`: end the demo's server and remove what the demo made, on the engine and on disk."""

from __future__ import annotations

import shutil
import sys

from scripts.demo import demo_instance


def main() -> int:
    instance = demo_instance()
    if not (instance.home / "lockstep.toml").exists():
        print("the demo is not running")
        return 0
    instance.stop()
    done = instance.destroy()
    print(done.all, end="")
    if done.code == 0:
        shutil.rmtree(instance.home)
        shutil.rmtree(instance.key.parent)
    return done.code


if __name__ == "__main__":
    sys.exit(main())
