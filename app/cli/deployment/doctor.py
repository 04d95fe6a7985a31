"""Check every part of this deployment, and say how to fix what does not work."""

from __future__ import annotations

import click

from app.cli.processes import become_module, pass_settings
from app.config import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one finding a line.")
@pass_settings
def command(settings: Settings, as_json: bool) -> None:
    """Check every part of this deployment, and say how to fix what does not work.

    Exits with 1 if a part is missing or broken.

    \b
    agent-runners doctor
    agent-runners doctor --json
    """
    become_module(settings, "tasks.doctor", *(["--json"] if as_json else []))
