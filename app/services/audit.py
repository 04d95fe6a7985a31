"""The audit trail: who changed what in an account."""

from __future__ import annotations

import uuid
from typing import Any

from app import db
from app.models import AuditEvent
from app.models.states import Scope
from app.services import pagination
from app.services.callers import Caller
from app.services.pagination import Listing, Page


def record(caller: Caller, action: str, subject: str, site_id: uuid.UUID | None = None, **details: Any) -> None:
    """Record a change in the transaction that makes it. `details` must hold no secret."""
    event = AuditEvent(
        account_id=caller.account_id,
        site_id=site_id,
        user_id=caller.user_id,
        token_id=caller.token_id,
        action=action,
        subject=subject,
        details=details,
    )
    db.session.add(event)


def find(caller: Caller, filters: dict[str, Any]) -> Page[AuditEvent]:
    """A page of the account's audit trail, newest first."""
    caller.require(Scope.ADMIN)
    own = (AuditEvent.account_id == caller.account_id,)
    return pagination.find(Listing(AuditEvent, (AuditEvent.created_at, AuditEvent.id), [own], True), filters)
