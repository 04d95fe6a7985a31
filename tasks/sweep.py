"""The periodic repair."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable

import structlog

from app import db
from app.queue import SWEEP_ALL
from app.services import control_places, sweep
from app.services.execution import repairs
from app.services.forge_webhooks import deliveries as forge_deliveries
from app.services.forge_webhooks import failed_checks, follow_ups
from app.services.hooks import deliveries as hook_deliveries
from app.services.publishing import publication_attempts, pull_requests
from app.services.schedules import runs
from app.services.webhooks import deliveries
from tasks.celery_app import app

log = structlog.get_logger()


@app.task(name=SWEEP_ALL)
def sweep_all() -> None:
    """Find work whose message or worker was lost, and schedules whose time has come, and serve each in a transaction
    of its own."""
    with db.transaction(read_only=True):
        sessions, publications = sweep.find_sessions(), sweep.find_publications()
        due = runs.find_due(sweep.AT_ONCE)
        waiting = hook_deliveries.find_waiting(sweep.AT_ONCE)
        webhooks = deliveries.find_due(sweep.AT_ONCE)
        from_forges = forge_deliveries.find_due(sweep.AT_ONCE)
        asked_for = follow_ups.find_ready(sweep.AT_ONCE)
    for session_id in sessions:
        _repair(repairs.repair, session_id)
    for publication_id in publications:
        _repair(publication_attempts.repair, publication_id)
    for webhook_id in webhooks:
        _repair(deliveries.repair, webhook_id)
    for delivery_id in from_forges:
        _repair(forge_deliveries.repair, delivery_id)
    for delivery_id in asked_for:
        _go_on(delivery_id)
    for delivery_id in waiting:
        _repair(hook_deliveries.start_waiting, delivery_id)
    for schedule_id in due:
        _repair(runs.run_due, schedule_id)
    with db.transaction():
        sweep.dispatch_next()
        control_places.dispatch_next()
        sweep.request_garbage_collection()
        pull_requests.request_checks()
        sweep.forget_old()
        sweep.finish()
    if sessions or publications:
        log.info("swept", sessions=len(sessions), publications=len(publications))


def _go_on(delivery_id: uuid.UUID) -> None:
    """Go on with a request on a forge, as in `_repair`. What its session has changed is read from the store before."""
    try:
        doubtful = failed_checks.find_doubtful(delivery_id)
    except Exception:
        log.exception("not_repaired", id=str(delivery_id))
    else:
        _repair(functools.partial(follow_ups.go_on, doubtful=doubtful), delivery_id)


def _repair(repair: Callable[[uuid.UUID], None], row_id: uuid.UUID) -> None:
    """Run one repair. A failure is logged and does not stop the other repairs."""
    try:
        with db.transaction():
            repair(row_id)
    except Exception:
        log.exception("not_repaired", id=str(row_id))
