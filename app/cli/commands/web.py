"""Serve the API with gunicorn."""

from __future__ import annotations

import argparse
import contextlib

from app import db
from app.cli.processes import become_module, require_free_port
from app.config import Settings
from app.services import secret_key

PROCESSES = 2
# In addition to the listeners for events, each of which occupies a thread.
REQUEST_THREADS = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(_args: argparse.Namespace, settings: Settings) -> int:
    _require_same_key(settings)
    require_free_port(settings.web_host, settings.web_port, "AGENT_RUNNERS_WEB_PORT")
    become_module(
        settings,
        "gunicorn",
        "app.web:create_app()",
        *("--worker-class", "gthread", "--workers", str(PROCESSES)),
        *("--threads", str(settings.max_listeners + REQUEST_THREADS)),
        *("--bind", f"{settings.web_host}:{settings.web_port}"),
        # Listeners never end by themselves, so a stop takes this long if there are any.
        *("--graceful-timeout", "5"),
        *("--log-level", "warning"),
        "--no-control-socket",
    )


def _require_same_key(settings: Settings) -> None:
    db.configure(settings.database)
    # If the database is unavailable, the web process starts anyway and answers 503 until it is back.
    with contextlib.suppress(db.DatabaseError), db.transaction():
        secret_key.require_same()
