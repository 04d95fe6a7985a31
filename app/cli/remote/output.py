"""What commands print and ask: results go to standard output, remarks to standard error.

On a terminal, lists are aligned tables with a heading. Elsewhere each row is one line with tabs, for other programs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.escaping import readable

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, as the API returns it.")


def say(text: str) -> None:
    """A remark for the user."""
    print(readable(text), file=sys.stderr)


def read_token() -> str:
    """A token that the user types unseen, or that another program writes to standard input."""
    given: str = click.prompt("Token", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    return given.strip()


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A list: a table on a terminal, else lines with tabs."""
    # A line break in a title must not look like another row.
    clean = [[readable(" ".join(cell.split())) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in clean:
            print("\t".join(row))
        return
    table = Table(*(column.upper() for column in columns), box=None, pad_edge=False, header_style="dim")
    for row in clean:
        table.add_row(*(Text(cell, overflow="ellipsis", no_wrap=True) for cell in row))
    Console(highlight=False, emoji=False).print(table)


def print_fields(fields: Mapping[str, object]) -> None:
    """Names and values, one a line. What is None is left out."""
    shown = {name: str(value) for name, value in fields.items() if value is not None}
    width = max(map(len, shown))
    for name, value in shown.items():
        print(f"{name:<{width}}  {readable(value)}")
