"""What agents remember of their sessions, for follow-ups. No caller reads it: it has whatever the agent has seen."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable

from app import artifacts
from app.services.artifacts.sealed import seal

FOLDER = "agent-runner-conversations"
_SUFFIX = ".tar.gz"


def put(runner_id: uuid.UUID, session_id: uuid.UUID, attempt: int, read: Callable[[], Iterable[bytes]]) -> str:
    """Store what `read` reads, and return its key. It is read twice. Raises what `Store.put` and `read` raise."""
    key = seal(f"{FOLDER}/{runner_id}/{session_id}/{attempt}/{uuid.uuid4()}", read(), _SUFFIX)
    artifacts.store().put(key, read())
    return key
