"""Prepares a session worker before it forks the processes of its pool, each of which runs one session.

What is imported, compiled and parsed here, they need not do themselves, and its memory is shared.
"""

from __future__ import annotations

import importlib

import sqlalchemy as sa
import structlog

from app import artifacts, db
from app.config import settings
from tasks.jobs.host import this_host
from tasks.startup.agents import report_agents
from tasks.startup.rehearsal import rehearse
from workers.agents.registry import added_agents
from workers.sandbox import probe, seccomp
from workers.workspace.overlay_probe import can_overlay

log = structlog.get_logger()
# What a session imports where it is first needed.
_LATE_IMPORTS = ("encodings.utf_16_be", "encodings.utf_16_le", "gzip")
_OF_AN_APP = ("workers.forges.github_app",)


def warm_up() -> None:
    """Do what each session would do first. The database and the sandbox may be unavailable. No connection is left open."""
    for module in (*_LATE_IMPORTS, *(_OF_AN_APP if settings().github_app_id else ())):
        importlib.import_module(module)
    artifacts.store()
    seccomp.program()
    seccomp.program_for_git(unix_sockets=False)
    # They are searched for among all packages that are installed.
    added_agents()
    host = this_host()
    if probe(host).ok:
        can_overlay(host)
    try:
        rehearse()
        report_agents()
    except sa.exc.SQLAlchemyError as error:
        # A session then compiles its statements itself, which takes it a tenth of a second.
        log.warning("statements_not_compiled", error=type(error).__name__)
    finally:
        db.close()
