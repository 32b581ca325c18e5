"""The worker: says the time every five seconds until SIGTERM."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import Final

RELEASE: Final = os.environ.get("LOCKSTEP_RELEASE", "local")
STOP: Final = {signal.SIGTERM}


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    while True:
        print(f"clock {RELEASE}: it is {datetime.now(UTC):%H:%M:%S}", flush=True)
        if signal.sigtimedwait(STOP, 5):
            break
    print(f"clock {RELEASE}: told to stop, bye", flush=True)


if __name__ == "__main__":
    main()
