"""Sessions, leases and publications that should have moved on by themselves."""

from __future__ import annotations

from collections.abc import Iterator

from app import db, queue
from app.services import metrics
from app.services.metrics import Stuck
from tasks.doctor.finding import FAULTS, Finding

# These are explained in docs/faults.md. A session waits for two sweeps at most where a worker has room, and a
# publication that the forge refuses for passing reasons is given up after ten minutes.
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
        f"sessions are RUNNING whose worker has not beaten, and which nobody swept, for {EXPIRED_LEASE_SECONDS:.0f} s",
        "See to the sweep above, and to the log of its worker",
    )
    yield _judge(
        "publications",
        found.pending_publications,
        f"pull requests and commits have not come to an end for {PENDING_SECONDS / 60:.0f} min",
        "Start, or start anew: agent-runners worker control. Its log says what holds them up",
    )
    yield _judge(
        "lost sessions",
        found.lost_sessions,
        f"sessions ended with `worker_lost` in the last {RECENT_SECONDS / 60:.0f} min",
        "Read the logs of the session workers; memory is the usual reason",
    )


def _queue(found: Stuck) -> Finding:
    """Whether sessions wait that could run: nobody's limits hold them back, and the workers have room."""
    seconds = found.longest_wait_seconds
    if seconds <= LONGEST_WAIT_SECONDS:
        return Finding("queue", "working", "nobody waits long")
    detail, places = f"the oldest session that may run waits {seconds:.0f} s", _places()
    if not places:
        detail, remedy = f"{detail}, and no worker answers", "Start one: agent-runners worker sessions"
    elif found.running < places:
        detail = f"{detail}, though {found.running} run where {places} may"
        remedy = "See to the broker and the sweep above, then start the session workers anew"
    else:
        # A long queue is no fault of ours, but whoever asks may want to know.
        return Finding("queue", "working", f"{detail}; all {places} places are taken", "Start more session workers")
    return Finding("queue", "failing", detail, f"{remedy}. {FAULTS}")


def _places() -> int:
    """How many sessions the workers that answer run at once; none where the broker does not, which its row tells."""
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
    return Finding(part, "working", "nothing to see to")
