"""The control group of one git command on the host, for commands that take long.

A process that joins a group waits some ten milliseconds for the kernel, which is longer than most git commands take. So a
command joins when it has run for a moment. Until then it is held by the resource limits of its processes, as it is for all
its time where the worker may not create groups.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path
from typing import Self

from workers.job import Limits
from workers.limits.cgroups import Group, find_parents, open_group
from workers.limits.git_limits import NICENESS, GitLimits
from workers.processes.descendants import descendants
from workers.processes.priority import lower_priority

_MOMENT_SECONDS = 0.25
_PREFIX = "git-"


class GitGroup:
    """The group of one command, while the context is open. Open it before the command starts, and call `watch` meanwhile."""

    def __init__(self, limits: GitLimits) -> None:
        self._limits = limits
        self._joins_at: float | None = time.monotonic() + _MOMENT_SECONDS
        self._group: Group | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._group is not None:
            self._group.remove()

    def watch(self, pid: int) -> None:
        """Have the command, which the process `pid` is or has started, join once it has run for a moment."""
        if self._joins_at is not None and time.monotonic() >= self._joins_at:
            self._joins_at = None
            # The kernel takes only some of these changes of an ordinary user, so short commands do without.
            lower_priority(NICENESS, pid)
            self._join(pid)

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed a process at the limit on the memory of all together."""
        return self._group is not None and self._group.oom_kills() > 0

    def _join(self, pid: int) -> None:
        _remove_leftovers()
        limits = Limits(max_memory_bytes=self._limits.memory_bytes, max_cpus=self._limits.cpus)
        # A name of its own, because another container that shares the groups may have a process with the same id.
        self._group = open_group(f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}", limits, comes_first=True)
        if self._group is not None:
            # What the first of them starts from now on is in the group, too.
            for joining in (pid, *descendants(pid)):
                for procs_file in self._group.procs_files:
                    with contextlib.suppress(OSError):
                        Path(procs_file).write_text(str(joining))


def _remove_leftovers() -> None:
    """Remove the empty groups of workers that were killed."""
    for parent in set(find_parents().folders.values()):
        for folder in parent.glob(f"{_PREFIX}*"):
            worker = folder.name.removeprefix(_PREFIX).partition("-")[0]
            if not Path("/proc", worker).exists():
                with contextlib.suppress(OSError):
                    folder.rmdir()
