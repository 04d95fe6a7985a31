"""Show workers and tasks in the browser, behind a password."""

from __future__ import annotations

import argparse
import secrets

from app.cli.errors import CommandError
from app.cli.processes import become_module
from app.config import Settings, made_once_file
from app.keys import made_once


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on (default: %(default)s)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    become_module(
        settings,
        "celery",
        *("--app", "tasks.celery_app", "flower"),
        *(f"--address={args.address}", f"--port={settings.flower_port}"),
        # Not an argument: every user of the machine can read those.
        variables={"FLOWER_BASIC_AUTH": credentials(settings)},
    )


def credentials(settings: Settings) -> str:
    """`user:password`: the operator's, else one that is made once; raises `CommandError` for what is no such pair."""
    file = made_once_file(settings, "flower_auth")
    text = settings.flower_auth or made_once(file, f"flower:{secrets.token_urlsafe(24)}")
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise CommandError("AGENT_RUNNERS_FLOWER_AUTH must be `user:password`")
    return text
