"""The limits of git on the host.

A repository, a remote or a diff decides how much work git has, so no git command runs without limits. Those of the agent
do not apply to it, because it runs outside of the sandbox.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

from workers.job import Host, Limits

# Memory that git needs for a binary file that fills a diff, as a multiple of its size.
_MEMORY_FOR_DIFF = 8
# Between the agents, which have 10, and the worker: git of a session that is saved should not wait for all agents.
NICENESS = 5
# A pack of files that cannot be compressed is a little larger than the files.
_SHARE_OF_OVERHEAD, _LEAST_OVERHEAD = 16, 1024**2
_BLOCK = 4096


@dataclass(frozen=True)
class GitLimits:
    """What one git command may use.

    `memory_bytes` is for each of its processes (Linux only), and in a control group for all of them together, where `cpus`
    is the number of processors (0: no limit): see `GitGroup`. `disk_bytes` and `disk_files` limit what is written: one
    file, a tree before it is checked out, and the binary files of a patch. `seconds` is the time of a
    command for which no other limit was given, `cpu_seconds` the processor time of each of its processes (Linux only).
    """

    memory_bytes: int = 2 * 1024**3
    disk_bytes: int = 10 * 1024**3
    disk_files: int = 1_000_000
    output_bytes: int = 512 * 1024**2
    seconds: float = 3600
    cpus: float = 0
    cpu_seconds: int | None = None

    @property
    def resources(self) -> Mapping[str, int]:
        """The limits that the kernel enforces: names and values of `resource`."""
        file_bytes = self.disk_bytes + self.disk_bytes // _SHARE_OF_OVERHEAD + _LEAST_OVERHEAD
        # The memory limit is on data, not on address space: mapped packs use address space but no memory.
        processor = {} if self.cpu_seconds is None else {"RLIMIT_CPU": self.cpu_seconds}
        return {"RLIMIT_FSIZE": file_bytes, "RLIMIT_DATA": self.memory_bytes, **processor}

    def for_diff(self, most_bytes: int) -> GitLimits:
        """The limits with which a diff of that size can be made."""
        return replace(self, memory_bytes=max(self.memory_bytes, _MEMORY_FOR_DIFF * most_bytes))

    def impose(self, pid: int) -> None:
        """Limit a process that was just started, and give it a low priority. Processes that it starts inherit both."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "linux":
                for name, value in self.resources.items():
                    resource.prlimit(pid, getattr(resource, name), (value, value))
            if os.getpriority(os.PRIO_PROCESS, pid) < NICENESS:
                os.setpriority(os.PRIO_PROCESS, pid, NICENESS)


def session_limits(host: Host, limits: Limits) -> GitLimits:
    """The limits of git for one session: those on disk space are its own."""
    return GitLimits(host.max_git_memory_bytes, limits.max_disk_bytes, limits.max_disk_files, cpus=limits.max_cpus)


def remote_limits(host: Host) -> GitLimits:
    """The limits of a command that contacts a remote, or that works on what was fetched from it."""
    return GitLimits(host.max_git_memory_bytes, host.max_fetch_bytes)


def occupied(size: int) -> int:
    """The disk space of a file of `size` bytes: file systems use whole blocks."""
    return -(-size // _BLOCK) * _BLOCK
