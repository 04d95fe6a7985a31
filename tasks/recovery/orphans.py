"""Workspaces left on this host by lost workers. `python -m tasks.recovery.orphans` saves the work in them and removes them.

It is a process of its own, so that files that are slow to read do not delay a worker.
"""

from __future__ import annotations

from pathlib import Path

import structlog

import workers
from app.redaction.secrets import redacted_logs
from app.services.execution import session_attempts
from app.services.execution.session_attempts import Claim
from app.services.sites.site_secrets import secrets_of
from app.services.variables.values import of_site
from tasks.attempts.heartbeat import Heartbeat
from tasks.attempts.transactions import transact
from tasks.background import prepare, start_in_background
from tasks.jobs.artifact_io import StoredWork
from tasks.jobs.host import this_host
from tasks.jobs.session_jobs import job_of

log = structlog.get_logger()


def start_sweep_if_needed() -> None:
    """Start the sweep if a workspace is an orphan. In any case, start to empty the trash."""
    host = this_host()
    workers.discard_workspaces(host, [])
    if any(map(workers.is_orphan, workers.find_workspaces(host).values())):
        start_in_background("tasks.recovery.orphans")


def sweep_workspaces() -> None:
    """Remove the workspaces of attempts that no longer run, after saving any work that is not stored yet."""
    # List the folders before the query: a folder made after it belongs to an attempt that the query does not include.
    host = this_host()
    found = workers.find_workspaces(host)
    running = {_name(claim) for claim in transact(lambda: session_attempts.find_running(found))}
    unsaved = {_name(claim): claim for claim in transact(lambda: session_attempts.find_without_work(found))}
    # First those with nothing to save: that is quick, and frees the disk space that saving needs.
    unneeded = found.keys() - running - unsaved.keys()
    workers.discard_workspaces(host, [found[name] for name in unneeded])
    for name, claim in unsaved.items():
        _save_and_discard(claim, found[name])


def _name(claim: Claim) -> tuple[str, int]:
    return str(claim.session.id), claim.attempt


def _save_and_discard(claim: Claim, folder: Path) -> None:
    """Save the work and remove the workspace. Does nothing while its own attempt or another sweep holds its lock."""
    variables = transact(lambda: of_site(claim.site))
    secrets = secrets_of(claim.site, variables)
    names = structlog.contextvars.bound_contextvars(session_id=str(claim.session.id), attempt=claim.attempt)
    with names, redacted_logs(secrets), workers.locked(folder) as is_ours:
        if not is_ours:
            return
        sink = StoredWork(claim)
        try:
            job = job_of(claim, variables, sink, secrets, Heartbeat.lifeline(), lambda: True)
            workers.save_lost_work(job, this_host(claim.site.account_id))
            kept = transact(lambda: session_attempts.keep_work(claim.session.id, claim.attempt, sink.work))
            log.info("orphan_saved", work_kept=kept)
        except Exception:
            log.exception("orphan_not_saved")
        workers.discard_workspaces(this_host(), [folder])


if __name__ == "__main__":
    prepare()
    sweep_workspaces()
