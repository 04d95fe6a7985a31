"""Run a worker for one queue: sessions (long), control (publish, refresh), or sweep (repairs, with its timer)."""

from __future__ import annotations

import click

from app.cli.processes import become_module, pass_settings, private_folder
from app.config import Settings


@click.command(help=__doc__)
@click.argument("queue", type=click.Choice(("sessions", "control", "sweep")))
@click.option("--name", help="Name of this worker, unique on its host (default: the queue).")
@pass_settings
def command(settings: Settings, queue: str, name: str | None) -> None:
    private_folder(settings.data_dir)
    become_module(settings, "tasks.worker", queue, name or queue)
