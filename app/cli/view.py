"""Steps as they happen, and diffs. With colours and a timer on a terminal, else plain lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax

from app.client import Event
from app.escaping import readable

LINES_SHOWN = 200


class View:
    """Writes to the terminal. Control characters and markup in the given text have no effect."""

    def __init__(self, *, stderr: bool = False) -> None:
        self.console = Console(highlight=False, emoji=False, stderr=stderr)

    def say(self, text: str = "") -> None:
        self.console.print(readable(text), markup=False, soft_wrap=True)

    def heading(self, text: str) -> None:
        self.console.print(f"\n[bold]{escape(readable(text))}[/bold]")

    @contextmanager
    def working(self, what: str) -> Iterator[Callable[[str], None]]:
        """Show that something is in progress, and for how long. Yields a function that changes what is shown."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        interactive = self.console.is_terminal
        if not interactive:
            self.say(f"  {what} ...")
        with Progress(*columns, console=self.console, transient=True, disable=not interactive) as progress:
            task = progress.add_task(escape(what), total=None)
            yield lambda now: progress.update(task, description=escape(readable(now)))

    def steps(self, events: Iterable[Event]) -> None:
        """Show each step as it arrives, until the events end."""
        for event in self.wait(events):
            if event.kind == "step":
                self.step(event.data["title"], event.data["message"] or "")
            elif event.kind == "state":
                self.console.print(f"  [cyan]{escape(event.data['state'])}[/cyan]")

    def wait(self, events: Iterable[Event], name: str = "the session") -> Iterator[Event]:
        """Show what the session is doing and what it has cost, until the events end. `name` tells it from others."""
        stage, spent = "waiting", ""
        with self.working(f"running {name}") as show:
            for event in events:
                if event.kind == "stage" and event.data["stage"]:
                    stage = event.data["stage"]
                elif event.kind == "usage":
                    spent = _spent(event.data)
                show(f"{stage}{spent}")
                yield event

    def step(self, title: str, message: str) -> None:
        """Show one step."""
        lines = readable(message).splitlines()
        # A title that repeats the first line of the message is not shown twice.
        if lines and lines[0] == readable(title):
            del lines[0]
        self.console.print(f"  [green]•[/green] {escape(readable(title))}", soft_wrap=True)
        for line in lines:
            self.console.print(f"    [dim]{escape(line)}[/dim]", soft_wrap=True)

    def diff(self, text: bytes) -> None:
        """Show a diff, or its beginning."""
        lines = readable(text.decode(errors="replace")).splitlines()
        shown = "\n".join(lines[:LINES_SHOWN])
        if self.console.is_terminal:
            self.console.print(Syntax(shown, "diff", background_color="default", word_wrap=True))
        else:
            self.say(shown)
        if len(lines) > LINES_SHOWN:
            self.say(f"... and {len(lines) - LINES_SHOWN} more lines")


def _spent(usage: dict[str, Any]) -> str:
    """Tokens and money, as far as they are known."""
    tokens = sum(usage[name] or 0 for name in ("input_tokens", "output_tokens"))
    cost = usage["cost_usd"]
    return (f", {tokens:,} tokens" if tokens else "") + (f", {cost:.2f} USD" if cost is not None else "")
