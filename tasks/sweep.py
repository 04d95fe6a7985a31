"""The periodic repair."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import structlog

from app import db
from app.queue import SWEEP_ALL
from app.services import idempotency, sweep
from app.services.execution import repairs
from app.services.publishing import publication_attempts, pull_requests
from app.services.webhooks import deliveries
from tasks.celery_app import app

log = structlog.get_logger()


@app.task(name=SWEEP_ALL)
def sweep_all() -> None:
    """Find work whose message or worker was lost, and repair each in a transaction of its own."""
    with db.transaction(read_only=True):
        sessions, publications = sweep.find_sessions(), sweep.find_publications()
        webhooks = deliveries.find_due(sweep.AT_ONCE)
    for session_id in sessions:
        _repair(repairs.repair, session_id)
    for publication_id in publications:
        _repair(publication_attempts.repair, publication_id)
    for webhook_id in webhooks:
        _repair(deliveries.repair, webhook_id)
    with db.transaction():
        sweep.dispatch_next()
        sweep.request_garbage_collection()
        pull_requests.request_checks()
        idempotency.forget_expired()
        deliveries.forget_old()
        sweep.finish()
    if sessions or publications:
        log.info("swept", sessions=len(sessions), publications=len(publications))


def _repair(repair: Callable[[uuid.UUID], None], row_id: uuid.UUID) -> None:
    """Run one repair. A failure is logged and does not stop the other repairs."""
    try:
        with db.transaction():
            repair(row_id)
    except Exception:
        log.exception("not_repaired", id=str(row_id))
