"""Rows under headings. A pipe gets each row on its own lines, however long; a terminal gets what fits it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import zip_longest

from rich.cells import cell_len

GAP = "  "


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], columns: int | None) -> str:
    """The text of a table. `columns` is the width of the client's terminal, None without one."""
    widths = [max(map(_width, column)) for column in zip(headings, *rows, strict=True)]
    lines = [line for row in (headings, *rows) for line in _lines(row, widths)]
    if columns is None:
        return "".join(f"{line}\n" for line in lines)
    if max(map(cell_len, lines)) > columns > 0:
        return _folded(headings, rows, columns)
    return "".join(f"{line}\n" for line in (f"\x1b[1m{lines[0]}\x1b[0m", *lines[1:]))


def _width(text: str) -> int:
    return max(map(cell_len, text.splitlines()), default=0)


def _lines(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """A row, on as many lines as its tallest cell has."""
    tall = zip_longest(*(cell.splitlines() or [""] for cell in row), fillvalue="")
    return [
        GAP.join(_padded(text, width) for text, width in zip(cells, widths, strict=True)).rstrip() for cells in tall
    ]


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _folded(headings: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> str:
    """The table made as narrow as the terminal: long cells go on below."""
    from rich.console import Console
    from rich.table import Table

    out = io.StringIO()
    console = Console(file=out, width=columns, force_terminal=True, highlight=False, markup=False, emoji=False)
    folded = Table(box=None, pad_edge=False, header_style="bold", padding=(0, len(GAP), 0, 0))
    for heading in headings:
        folded.add_column(heading, overflow="fold")
    for row in rows:
        folded.add_row(*row)
    console.print(folded)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())
