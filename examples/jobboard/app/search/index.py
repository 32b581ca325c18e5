"""The inverted index: for each word the set of postings that have it, for each posting the set of its words."""

from __future__ import annotations

import re
from typing import Final

from app import postings
from app.store import db, key

LONGEST_WORD: Final = 40


def words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.casefold()) if len(word) <= LONGEST_WORD}


def reindex(id_: str) -> int:
    """Make the index match the posting as it is now, also if it is gone; return how many words it has."""
    found = postings.load([id_])
    new = words(" ".join(found[0][name] for name in postings.LONGEST)) if found else set()
    old = db.smembers(key("words-of", id_))
    with db.pipeline() as pipe:
        for word in old - new:
            pipe.srem(key("word", word), id_)
            pipe.srem(key("words-of", id_), word)
        for word in new - old:
            pipe.sadd(key("word", word), id_)
            pipe.sadd(key("words-of", id_), word)
        pipe.execute()
    return len(new)


def search(query: str) -> list[postings.Posting]:
    """The postings that have all words of the query, newest first."""
    wanted = words(query)
    if not wanted:
        return []
    ids = db.sinter([key("word", word) for word in wanted])
    return postings.load(sorted(ids, key=int, reverse=True)[: postings.PAGE])
