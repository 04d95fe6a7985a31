"""How a command ends."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """The exit statuses of commands. Those above 63 are those of sysexits(3)."""

    DONE = 0
    ERROR = 1
    CANCELLED = 2
    """The session that was waited for was stopped."""
    ASKS = 3
    """The agent ended its turn with questions."""
    USAGE = 64
    UNREACHABLE = 69
    """No deployment answers."""
    INTERRUPTED = 130
    CLOSED = 141
    """Nobody reads the output any further, as if SIGPIPE had ended the command."""


class CommandError(Exception):
    """The command cannot continue. The message says why and what to do."""

    def __init__(self, message: str, status: ExitStatus = ExitStatus.ERROR) -> None:
        super().__init__(message)
        self.status = status
