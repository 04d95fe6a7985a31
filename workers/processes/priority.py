"""The priority of what works for agents and repositories: below that of the worker and other services."""

from __future__ import annotations

import contextlib
import os
import sys

FOR_AGENTS = 10
"""The niceness of agents, and of what serves them."""


def lower_priority(niceness: int, pid: int | None = None) -> None:
    """Give the leader of a session of processes (`setsid`), by default this process, that niceness, unless its own is
    higher. What it starts from now on inherits it.

    Where Linux shares processors among sessions, niceness counts only within each of them, so that of the session is set,
    too (`autogroup` in sched(7)). Of ordinary users the kernel takes ten such changes a second; it refuses more.
    """
    which = os.getpid() if pid is None else pid
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpriority(os.PRIO_PROCESS, which) < niceness:
            os.setpriority(os.PRIO_PROCESS, which, niceness)
    if sys.platform == "linux":
        with contextlib.suppress(OSError), open(f"/proc/{which}/autogroup", "w") as session:
            session.write(str(niceness))
