"""`make bench`: every benchmark, one after the other. Each can be run alone: python -m bench.NAME."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = ("receive", "commands", "deploy", "cron")


def main() -> int:
    worst = 0
    for name in BENCHMARKS:
        print(f"===== {name}", flush=True)
        worst = max(
            worst, subprocess.run([sys.executable, "-m", f"bench.{name}", *sys.argv[1:]], check=False).returncode
        )
    return worst


if __name__ == "__main__":
    sys.exit(main())
