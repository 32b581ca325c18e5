"""The indexer: takes ids from the queue, one by one, and brings the index up to date.

An id stays on a second list while it is worked on, so nothing is lost if the process dies: the next one puts it
back. Indexing twice does no harm. On SIGTERM the id at hand is finished, then the process exits with 0.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app import parts
from app.postings import QUEUE
from app.search.index import reindex
from app.store import db, key, now

IN_WORK: Final = key("queue", "in-work")


def main() -> None:
    with parts.on_record("indexer", exit_code=0):
        try:
            put_back()
            while True:
                parts.beat(now())
                work_once()
        finally:
            parts.beat_ends()


def put_back() -> None:
    """Put back what a predecessor had begun and did not finish."""
    while id_ := db.lmove(IN_WORK, QUEUE, "LEFT", "RIGHT"):
        print(f"indexer: posting {id_} was left half done, it is in the queue again", flush=True)


def work_once() -> None:
    """Wait a little for an id, and index it if one came."""
    id_ = db.blmove(QUEUE, IN_WORK, parts.BEAT_EVERY, "RIGHT", "LEFT")
    if id_ is None:
        return
    with sigterm_waits():
        count = reindex(id_)
        db.lrem(IN_WORK, 0, id_)
        print(f"indexer {parts.ME['release']}: posting {id_} has {count} words in the index", flush=True)


@contextmanager
def sigterm_waits() -> Iterator[None]:
    """A SIGTERM that arrives inside the block takes effect at its end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


if __name__ == "__main__":
    main()
