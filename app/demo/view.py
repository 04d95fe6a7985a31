"""The output of the demo: steps as they happen, and diffs. With colours and a timer on a terminal, else plain lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.syntax import Syntax

from app.client import Event
from app.escaping import readable

LINES_SHOWN = 200


class View:
    """Writes to the terminal. Control characters and markup in the given text have no effect."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, emoji=False)

    def say(self, text: str = "") -> None:
        self.console.print(readable(text), markup=False, soft_wrap=True)

    def heading(self, text: str) -> None:
        self.console.print(f"\n[bold]{escape(readable(text))}[/bold]")

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show that something is in progress, and for how long."""
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        interactive = self.console.is_terminal
        if not interactive:
            self.say(f"  {what} ...")
        with Progress(*columns, console=self.console, transient=True, disable=not interactive) as progress:
            progress.add_task(escape(what), total=None)
            yield

    def steps(self, events: Iterable[Event]) -> None:
        """Show each step as it arrives, until the events end."""
        with self.working("running the session"):
            for event in events:
                if event.kind == "step":
                    self._step(event.data["title"], event.data["message"] or "")
                elif event.kind == "state":
                    self.console.print(f"  [cyan]{escape(event.data['state'])}[/cyan]")

    def _step(self, title: str, message: str) -> None:
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
