"""Postings: checked, kept, listed, removed. Each change puts the posting's id on the queue of the indexer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from app.store import db, key

LONGEST: Final = {"title": 120, "company": 80, "place": 80, "text": 4000}  # characters
MOST_DAYS: Final = 90
PAGE: Final = 50

QUEUE: Final = key("queue")

Posting = dict[str, str]


class Invalid(ValueError):
    """What is wrong with a posting: field -> sentence."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__(problems)
        self.problems = problems


def add(fields: Mapping[str, object], at: datetime) -> Posting:
    """Check and keep a new posting. Raises Invalid."""
    posting, days = _checked(fields)
    expires = at + timedelta(days=days)
    posting |= {
        "id": str(db.incr(key("last-id"))),
        "posted_at": at.isoformat(timespec="seconds"),
        "expires_at": expires.isoformat(timespec="seconds"),
    }
    with db.pipeline() as pipe:
        pipe.hset(key("posting", posting["id"]), mapping=posting)
        pipe.zadd(key("by-time"), {posting["id"]: at.timestamp()})
        pipe.zadd(key("by-expiry"), {posting["id"]: expires.timestamp()})
        pipe.lpush(QUEUE, posting["id"])
        pipe.execute()
    return posting


def newest() -> list[Posting]:
    return load(db.zrevrange(key("by-time"), 0, PAGE - 1))


def load(ids: Iterable[str]) -> list[Posting]:
    """The postings with these ids, without those that are gone."""
    with db.pipeline() as pipe:
        for id_ in ids:
            pipe.hgetall(key("posting", id_))
        return [posting for posting in pipe.execute() if posting]


def remove_expired(at: datetime) -> int:
    """Remove what has expired and return how many that were."""
    ids = db.zrangebyscore(key("by-expiry"), "-inf", at.timestamp())
    for id_ in ids:
        with db.pipeline() as pipe:
            pipe.delete(key("posting", id_))
            pipe.zrem(key("by-time"), id_)
            pipe.zrem(key("by-expiry"), id_)
            pipe.lpush(QUEUE, id_)
            pipe.execute()
    return len(ids)


def _checked(fields: Mapping[str, object]) -> tuple[Posting, int]:
    posting: Posting = {}
    problems: dict[str, str] = {}
    for name, longest in LONGEST.items():
        posting[name] = _clean(fields.get(name), one_line=name != "text")
        if not posting[name]:
            problems[name] = "This is needed."
        elif len(posting[name]) > longest:
            problems[name] = f"At most {longest} characters, please: these are {len(posting[name])}."
    days = str(fields.get("days", 30)).strip()
    if not re.fullmatch(r"[0-9]{1,2}", days) or int(days) > MOST_DAYS:
        problems["days"] = f"A whole number from 0 to {MOST_DAYS}, please."
    if problems:
        raise Invalid(problems)
    return posting, int(days)


def _clean(value: object, *, one_line: bool) -> str:
    text = value if isinstance(value, str) else ""
    text = text.encode(errors="replace").decode()  # JSON can carry half a surrogate pair, UTF-8 cannot
    return " ".join(text.split()) if one_line else text.strip()
