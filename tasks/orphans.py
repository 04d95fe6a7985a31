"""What attempts left behind on this host whose worker died. `python -m tasks.orphans` saves what is wanted of it and
removes it, beside the workers: what makes a session's files hard to read is nobody else's trouble."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import structlog

import workers
from app import db
from app.config import settings
from app.logs import configure_logging
from app.redaction.secrets import kept_out_of_logs
from app.services.execution import session_attempts
from app.services.execution.session_attempts import Claim
from app.services.sites.site_secrets import secrets_of
from tasks.artifact_io import StoredDiffs
from tasks.heartbeat import Heartbeat
from tasks.session_jobs import job_of, this_host
from tasks.transactions import transact
from workers.processes.supervisor import lower_priority

log = structlog.get_logger()


def start_sweep_where_needed() -> None:
    """Sweep where there is a workspace that nobody is at work in any more, and in any case begin to empty the trash.

    The sweep is a process of its own, that a shell starts, which leaves nobody behind to be buried.
    """
    host = this_host()
    workers.discard_workspaces(host, [])
    if any(map(workers.is_orphan, workers.find_workspaces(host).values())):
        command = ["sh", "-c", '"$@" &', "sh", sys.executable, "-m", "tasks.orphans"]
        subprocess.run(command, stdin=subprocess.DEVNULL, start_new_session=True, check=False)


def sweep_workspaces() -> None:
    """Remove the workspaces that no attempt is at work in any more, and first save the work that would be lost by it."""
    # The folders are looked for first: one that is made later belongs to an attempt that this does not ask for.
    host = this_host()
    found = workers.find_workspaces(host)
    running = {_name(claim) for claim in transact(lambda: session_attempts.find_running(found))}
    unsaved = {_name(claim): claim for claim in transact(lambda: session_attempts.find_without_work(found))}
    # Those first that are quickly done: saving takes its time, and space on the disk.
    unneeded = found.keys() - running - unsaved.keys()
    workers.discard_workspaces(host, [found[name] for name in unneeded])
    for name, claim in unsaved.items():
        _save_and_discard(claim, found[name])


def _name(claim: Claim) -> tuple[str, int]:
    return str(claim.session.id), claim.attempt


def _save_and_discard(claim: Claim, folder: Path) -> None:
    """Leave it alone where its own attempt still saves the work, or another sweep does."""
    secrets = secrets_of(claim.site)
    names = structlog.contextvars.bound_contextvars(session_id=str(claim.session.id), attempt=claim.attempt)
    with names, kept_out_of_logs(secrets), workers.locked(folder) as is_ours:
        if not is_ours:
            return
        sink = StoredDiffs(claim)
        try:
            workers.save_lost_work(job_of(claim, sink, secrets, Heartbeat.lifeline(), lambda: True), this_host())
            kept = transact(lambda: session_attempts.keep_work(claim.session.id, claim.attempt, sink.work))
            log.info("lost_work", kept=kept)
        except Exception:
            log.exception("lost_work_not_saved")
        workers.discard_workspaces(this_host(), [folder])


if __name__ == "__main__":
    # Sessions go first.
    lower_priority()
    configure_logging("worker")
    db.configure(settings().database)
    sweep_workspaces()
