"""The priority of what works for agents and repositories: below that of the worker and other services."""

from __future__ import annotations

import contextlib
import os
import sys

FOR_AGENTS = 10
"""By how much the niceness of agents, and of what serves them, is higher than that of the worker."""
_HIGHEST = 19


def lower_priority(by: int, pid: int | None = None) -> None:
    """Make the niceness of the leader of a session of processes (`setsid`) by that much higher than that of this process,
    unless it is even higher. The leader is this process by default. What it starts from now on inherits its niceness.

    Where Linux shares processors among sessions, niceness counts only within each of them, so that of the session is set,
    too (`autogroup` in sched(7)). Of ordinary users the kernel takes ten such changes a second; it refuses more.
    """
    which = os.getpid() if pid is None else pid
    niceness = min(os.getpriority(os.PRIO_PROCESS, 0) + by, _HIGHEST)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpriority(os.PRIO_PROCESS, which) < niceness:
            os.setpriority(os.PRIO_PROCESS, which, niceness)
    if sys.platform == "linux":
        with contextlib.suppress(OSError), open(f"/proc/{which}/autogroup", "w") as session:
            session.write(str(by))
