"""The engine's one error. Tasks translate it for the record; it never carries a secret."""

from __future__ import annotations

import errno
from typing import Literal

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the OSError that means what `disk_full` says."""

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


def disk_full(stage: Stage) -> EngineError:
    """The failure where the file system of the worker, rather than the session, has no room left."""
    message = "The worker's disk is full. Its operator can make room, or set AGENT_RUNNERS_WORK_DIR to a larger disk."
    return EngineError("disk_full", stage, message, retryable=True)


def too_many_files(limit: int) -> EngineError:
    """The failure that says so of a diff."""
    return EngineError("too_many_files", "diff", f"The change touches more than {limit} files.")


class Interrupted(BaseException):
    """Thrown into the running engine when the lease is lost or the session is cancelled.

    It is no `Exception`, so that no handler written for failures swallows it, exactly like the `SystemExit` that
    Celery raises on SIGTERM and which the engine treats the same way.
    """
