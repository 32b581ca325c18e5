"""Tables: columns in line, one row a line for a pipe, folded for a terminal that is too narrow."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from gitreceive.commands.table import table

HEADINGS = ("APP", "WHAT")
ROWS = (("shop", "x" * 100), ("a", "y"))


def test_columns_are_in_line_and_nothing_trails() -> None:
    assert table(HEADINGS, (("shop", "first"), ("a", "-")), None) == "APP   WHAT\nshop  first\na     -\n"


def test_pipe_gets_long_rows_whole() -> None:
    assert table(HEADINGS, ROWS, None).splitlines()[1] == f"shop  {'x' * 100}"


def test_wide_characters_take_two_columns() -> None:
    first, second = table(HEADINGS, (("日本", "x"), ("abcd", "y")), None).splitlines()[1:]
    assert cell_len(first.partition("x")[0]) == cell_len(second.partition("y")[0])


def test_cell_of_several_lines_goes_on_below() -> None:
    assert table(HEADINGS, (("shop", "one\ntwo"), ("", "")), None) == "APP   WHAT\nshop  one\n      two\n\n"


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_terminal_gets_what_fits_it(columns: int) -> None:
    lines = table(HEADINGS, ROWS, columns).splitlines()
    assert lines[0].startswith("\x1b[1m")
    assert all(cell_len(line.replace("\x1b[1m", "").replace("\x1b[0m", "")) <= columns for line in lines)
    assert "".join(lines).count("x") == 100


def test_terminal_of_unknown_width_gets_what_a_pipe_gets() -> None:
    assert table(HEADINGS, ROWS, 0).splitlines()[1:] == table(HEADINGS, ROWS, None).splitlines()[1:]
