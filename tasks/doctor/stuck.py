"""Checks for sessions, leases and publications that are stuck."""

from __future__ import annotations

from collections.abc import Iterator

from app import db, queue
from app.services import metrics
from app.services.metrics import Stuck
from tasks.doctor.finding import FAULTS, Finding

# docs/faults.md explains these. If a worker has room, a session waits for at most two sweeps. A publication that keeps
# failing for temporary reasons ends after ten minutes.
LONGEST_WAIT_SECONDS = 60.0
EXPIRED_LEASE_SECONDS = 120.0
PENDING_SECONDS = 900.0
RECENT_SECONDS = 3600.0


def stuck() -> Iterator[Finding]:
    with db.transaction(read_only=True):
        found = metrics.find_stuck(EXPIRED_LEASE_SECONDS, PENDING_SECONDS, RECENT_SECONDS)
    yield _queue(found)
    yield _judge(
        "leases",
        found.expired_leases,
        f"sessions are RUNNING with a lease that expired over {EXPIRED_LEASE_SECONDS:.0f} s ago and was not swept",
        "Check the sweep above, and the log of the sweep worker",
    )
    yield _judge(
        "publications",
        found.pending_publications,
        f"pull requests and commits have been in progress for over {PENDING_SECONDS / 60:.0f} min",
        "Start or restart: agent-runners worker control. Its log says why they wait",
    )
    yield _judge(
        "lost sessions",
        found.lost_sessions,
        f"sessions ended with `worker_lost` in the last {RECENT_SECONDS / 60:.0f} min",
        "Read the logs of the session workers; they usually ran out of memory",
    )


def _queue(found: Stuck) -> Finding:
    """Whether sessions wait although the limits of accounts and sites allow them and workers have room."""
    seconds = found.longest_wait_seconds
    if seconds <= LONGEST_WAIT_SECONDS:
        return Finding("queue", "working", "no session waits long")
    detail, places = f"the oldest session that may run has waited for {seconds:.0f} s", _places()
    if not places:
        detail, remedy = f"{detail}, and no worker answers", "Start one: agent-runners worker sessions"
    elif found.running < places:
        detail = f"{detail}, although only {found.running} of {places} places are taken"
        remedy = "Check the broker and the sweep above, then restart the session workers"
    else:
        # A long queue is not a fault, but the operator may want to know.
        return Finding("queue", "working", f"{detail}; all {places} places are taken", "Start more session workers")
    return Finding("queue", "failing", detail, f"{remedy}. {FAULTS}")


def _places() -> int:
    """How many sessions the answering workers can run at once. 0 if the broker fails, which has its own finding."""
    try:
        ask = queue.celery().control.inspect(timeout=1)
        served = ask.active_queues() or {}
        pools = {name: each["pool"]["max-concurrency"] for name, each in (ask.stats() or {}).items()}
    except Exception:
        return 0
    return sum(
        pools.get(name, 0) for name, queues in served.items() if any(each["name"] == queue.SESSIONS for each in queues)
    )


def _judge(part: str, number: int, detail: str, remedy: str) -> Finding:
    if number:
        return Finding(part, "failing", f"{number} {detail}", f"{remedy}. {FAULTS}")
    return Finding(part, "working", "none")
