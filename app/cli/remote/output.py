"""What commands print and ask: results go to standard output, remarks to standard error.

On a terminal, lists are aligned tables with a heading. Elsewhere each row is one line with tabs, for other programs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.escaping import readable

Columns = Mapping[str, str | Callable[[dict[str, Any]], str]]
"""The heading of each column, and what it shows: a field, empty where that is null, or what a function returns."""
_IDS = ("id", "runner")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, as the API returns it.")


def say(text: str) -> None:
    """A remark for the user."""
    print(readable(text), file=sys.stderr)


def read_token() -> str:
    """A token that the user types unseen, or that another program writes to standard input."""
    given: str = click.prompt("Token", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    return given.strip()


def read_value() -> str:
    """A value that the user types unseen, or all of standard input without the line end after it."""
    given: str = click.prompt("Value", hide_input=True) if sys.stdin.isatty() else sys.stdin.read()
    return given.removesuffix("\n")


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def print_list(
    items: Iterable[dict[str, Any]], columns: Mapping[str, str | Callable[[dict[str, Any]], str]], *, as_json: bool
) -> None:
    """What the API lists. A column shows a field of each item, empty where that is null, or what a function makes of it."""
    found = list(items)
    if as_json:
        print_json(found)
        return
    rows = [
        [shown(item) if callable(shown) else str(item[shown] or "") for shown in columns.values()] for item in found
    ]
    print_rows(list(columns), rows)


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A list: a table on a terminal, else lines with tabs."""
    # A line break in a title must not look like another row.
    clean = [[readable(" ".join(cell.split())) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        for row in clean:
            print("\t".join(row))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, column in enumerate(columns):
        # On a narrow terminal other columns are shortened: half an id is of no use.
        is_id = column in _IDS
        table.add_column(
            column.upper(), min_width=max((len(row[place]) for row in clean), default=0) if is_id else None
        )
    for row in clean:
        table.add_row(*(Text(cell, overflow="ellipsis", no_wrap=True) for cell in row))
    Console(highlight=False, emoji=False).print(table)


def print_secret(made: dict[str, Any], *, as_json: bool) -> None:
    """What was made with a secret, which the API does not show again. E-mail needs none."""
    shown = ("id", "url") if made.get("format") == "email" else ("id", "url", "secret")
    print_json(made) if as_json else print_fields({name: made[name] for name in shown})


def title_of(item: dict[str, Any]) -> str:
    """The name of a schedule or a hook, or how its prompt begins."""
    return str(item["name"] or item["prompt"].strip().splitlines()[0][:80])


def with_successor(agent: str, session: dict[str, Any]) -> str:
    """The agent of a session, and the one that took over from it, if one did."""
    if not (successor := session["taken_over_by"]):
        return agent
    model = f":{successor['model']}" if successor["model"] else ""
    return f"{agent}, then {successor['agent']}{model}"


def print_fields(fields: Mapping[str, object]) -> None:
    """Names and values, one a line. What is None is left out."""
    shown = {name: str(value) for name, value in fields.items() if value is not None}
    width = max(map(len, shown))
    for name, value in shown.items():
        print(f"{name:<{width}}  {readable(value)}")
