"""The errors of the engine. Tasks store them with the session, so they never contain a secret."""

from __future__ import annotations

import errno
from typing import Literal

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
"""The `errno` values of an OSError that mean `disk_full`."""

Stage = Literal["checkout", "setup", "agent", "diff", "upload", "publish"]


class EngineError(Exception):
    """A failure that a person can act on.

    `code` is stable and documented in `docs/failures.md`. `stage` says where it happened, and `retryable` whether the
    same session may succeed if it is run again. `message` is shown to the caller unchanged. `retry_at` is when that is,
    in seconds since 1970, if somebody said so.
    """

    def __init__(
        self, code: str, stage: Stage, message: str, *, retryable: bool = False, retry_at: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.stage = stage
        self.message = message
        self.retryable = retryable
        self.retry_at = retry_at


class FetchBusy(EngineError):
    """Another process fetches the repository, and for longer than the job has patience. The job should wait elsewhere."""

    def __init__(self) -> None:
        message = "Another session is still fetching this repository. Run this one again when it is done."
        super().__init__("fetch_timeout", "checkout", message, retryable=True)


class BudgetNearlyUsed(EngineError):
    """So much of the session's budget is used that its agent is to leave a summary. What is left is for that alone."""


def disk_full(stage: Stage) -> EngineError:
    """The failure if the worker's own file system is full, rather than the session's limit reached."""
    message = "The worker's disk is full. Its operator can free space, or set AGENT_RUNNERS_WORK_DIR to a larger disk."
    return EngineError("disk_full", stage, message, retryable=True)


def too_many_files(limit: int) -> EngineError:
    """The failure for a diff with more files than the limit."""
    return EngineError(
        "too_many_files",
        "diff",
        f"The change touches more than {limit:,} files, the most that a session may change. Change fewer files.",
    )


class Interrupted(BaseException):
    """Thrown into the running engine when the lease is lost or the session is cancelled.

    It is not an `Exception`, so that handlers of failures do not catch it. It is handled like the `SystemExit` that
    Celery raises on SIGTERM.
    """
