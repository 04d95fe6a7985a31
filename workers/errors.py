"""The engine's one error. Tasks translate it for the record; it never carries a secret."""

from __future__ import annotations

from typing import Literal

Stage = Literal["checkout", "setup", "agent", "diff", "upload", "publish"]


class EngineError(Exception):
    """A failure that a person can act on.

    `code` is stable and documented in `docs/failures.md`, `stage` says where it happened, `retryable` whether the
    same session may succeed when it is simply tried again, `message` is shown to the caller as it is.
    """

    def __init__(self, code: str, stage: Stage, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.stage = stage
        self.message = message
        self.retryable = retryable


class Interrupted(BaseException):
    """Thrown into the running engine when the lease is lost or the session is cancelled.

    It is no `Exception`, so that no handler written for failures swallows it, exactly like the `SystemExit` that
    Celery raises on SIGTERM and which the engine treats the same way.
    """
