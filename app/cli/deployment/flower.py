"""Show workers and tasks in the browser, protected by a password."""

from __future__ import annotations

import secrets

import click

from app.cli.processes import become_module, pass_settings, require_free_port
from app.config import Settings
from app.deployment_secrets import made_once, made_once_file


@click.command(help=__doc__)
@click.option("--address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@pass_settings
def command(settings: Settings, address: str) -> None:
    require_free_port(address, settings.flower_port, "AGENT_RUNNERS_FLOWER_PORT")
    become_module(
        settings,
        "tasks.flower",
        "--logging=error",
        *(f"--address={address}", f"--port={settings.flower_port}"),
        # Not as an argument, because all users of the machine can read those.
        variables={"FLOWER_BASIC_AUTH": credentials(settings)},
    )


def credentials(settings: Settings) -> str:
    """`user:password`: from the settings, else generated once."""
    return settings.flower_auth or made_once(
        made_once_file(settings, "flower_auth"), f"flower:{secrets.token_urlsafe(24)}"
    )
