"""The worker: a line every two seconds until SIGTERM."""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import Final

RELEASE: Final = os.environ.get("LOCKSTEP_RELEASE", "local")
STOP: Final = {signal.SIGTERM}


def main() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    print(f"ticker {RELEASE}: started", flush=True)
    for tick in count(1):
        if signal.sigtimedwait(STOP, 2):
            break
        print(f"ticker {RELEASE}: tick {tick}", flush=True)
    print(f"ticker {RELEASE}: told to stop, bye", flush=True)


if __name__ == "__main__":
    main()
