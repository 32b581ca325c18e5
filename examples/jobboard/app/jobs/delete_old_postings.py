"""The nightly cleanup: removes expired postings and says how many."""

from __future__ import annotations

from app import parts, postings
from app.store import now


def main() -> None:
    with parts.on_record("stale_cleanup"):
        at = now()
        removed = postings.remove_expired(at)
        parts.cron_ran(at, removed)
        print(f"stale_cleanup {parts.ME['release']}: removed {removed} expired postings", flush=True)


if __name__ == "__main__":
    main()
