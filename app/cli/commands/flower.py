"""Show workers and tasks in the browser, protected by a password."""

from __future__ import annotations

import argparse
import secrets

from app.cli.processes import become_module, require_free_port
from app.config import Settings
from app.deployment_secrets import made_once, made_once_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on (default: %(default)s)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    require_free_port(args.address, settings.flower_port, "AGENT_RUNNERS_FLOWER_PORT")
    become_module(
        settings,
        "tasks.flower",
        "--logging=error",
        *(f"--address={args.address}", f"--port={settings.flower_port}"),
        # Not as an argument, because all users of the machine can read those.
        variables={"FLOWER_BASIC_AUTH": credentials(settings)},
    )


def credentials(settings: Settings) -> str:
    """`user:password`: from the settings, else generated once."""
    return settings.flower_auth or made_once(
        made_once_file(settings, "flower_auth"), f"flower:{secrets.token_urlsafe(24)}"
    )
