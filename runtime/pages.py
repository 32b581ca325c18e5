"""The small pages that the router shows in the place of an app."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Final

STOPPED_RETRY: Final = 60  # seconds
MAINTENANCE_RETRY: Final = 300
MAINTENANCE_TEXT: Final = "We are at work on this site and will be back soon."
MESSAGE_LIMIT: Final = 500  # characters of an operator's own text
PAGE: Final = (
    '<!doctype html><html lang="en"><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width"><title>{title}</title>'
    "<body><h1>{title}</h1><p>{text}</p></body></html>\n"
)
# Caddy replaces what stands in braces, by variables of its environment too, and a backslash quotes a brace.
QUOTED: Final = str.maketrans({"{": "&#123;", "}": "&#125;", "\\": "&#92;"})


@dataclass(frozen=True)
class Closed:
    """What visitors are answered, with 503, in the place of an app."""

    title: str
    text: str
    retry_after: int  # seconds

    @property
    def body(self) -> str:
        """A page that shows the text as it is, whatever is in it."""
        return PAGE.format(title=quoted(self.title), text=quoted(self.text))


STOPPED: Final = Closed("Not running", "This app is stopped.", STOPPED_RETRY)


def maintenance(message: str) -> Closed:
    return Closed("Maintenance", message or MAINTENANCE_TEXT, MAINTENANCE_RETRY)


def quoted(text: str) -> str:
    return html.escape(text).translate(QUOTED)
