"""Serve the API with gunicorn."""

from __future__ import annotations

import contextlib
import resource

import click

from app.cli.processes import become_module, pass_settings, require_free_port
from app.config import Settings
from app.serving.handover import with_receivers
from app.streams.capacity import MOST_CONNECTIONS, RESERVED_DESCRIPTORS

# Event streams occupy none of them: see app/streams.
THREADS = 16
# Longer than clients and proxies keep a connection that they do not use, so that none is closed as they use it again.
KEEP_ALIVE_SECONDS = 75


@click.command(help=__doc__)
@pass_settings
def command(settings: Settings) -> None:
    require_free_port(settings.web_host, settings.web_port, "AGENT_RUNNERS_WEB_PORT")
    _allow_open_files(settings.max_listeners)
    become_module(
        settings,
        "app.serving",
        "app.web:serve()",
        # Imported once, and the memory is shared by all processes.
        "--preload",
        *("--worker-class", "app.serving.priority.PriorityWorker"),
        *("--workers", str(with_receivers(settings.web_processes))),
        *("--threads", str(THREADS)),
        *("--worker-connections", str(MOST_CONNECTIONS)),
        *("--keep-alive", str(KEEP_ALIVE_SECONDS)),
        *("--bind", f"{settings.web_host}:{settings.web_port}"),
        *("--graceful-timeout", "5"),
        *("--log-level", "warning"),
        "--no-control-socket",
    )


def _allow_open_files(wanted: int) -> None:
    """Raise the limit on open files as far as it is needed and allowed. Many systems start programs with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted += RESERVED_DESCRIPTORS
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
