"""Publishing, apart from the sessions, which may fill their own workers for hours."""

from __future__ import annotations

import uuid

from app import db
from app.queue import PUBLISH
from app.services import publications
from tasks.celery_app import app

NOT_YET = "This release records the intent but cannot publish yet; fetch the diff and apply it with `git apply`."


@app.task(name=PUBLISH)
def publish(publication_id: str) -> None:
    """Settle a publication."""
    with db.transaction():
        publications.fail(uuid.UUID(publication_id), NOT_YET)
