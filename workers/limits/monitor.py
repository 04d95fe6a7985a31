"""Monitors the memory, processes and files of an attempt from outside, with or without control groups.

A thread checks the processes twice a second, and walks through the files at a pace that costs a few percent of one
processor. Reading output never waits for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from workers.errors import EngineError, Stage
from workers.job import Limits
from workers.limits.cgroups import Group
from workers.limits.disk_usage import DiskUsage, measure
from workers.processes.descendants import descendants

_CHECK_SECONDS = 0.5
_BETWEEN_WALKS_SECONDS = 1.0
# A walk runs for a moment and then pauses. If the disk fills up quickly, the pauses are very short.
_WALK_SECONDS, _REST_SECONDS, _SHORT_REST_SECONDS = 0.01, 0.2, 0.01
_LAST_WALK_SECONDS = 5.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Fields of /proc/ID/stat, counted from the one after the name (proc(5)).
_THREADS, _RESIDENT = 17, 21


class Monitor:
    """Monitors the folders of one attempt and, while `watching` is open, the processes of one command."""

    def __init__(self, limits: Limits, folders: Sequence[Path], group: Group | None) -> None:
        self._limits = limits
        self._folders = folders
        self._group = group
        self._exceeded: EngineError | None = None

    def check(self, stage: Stage) -> None:
        """Raise EngineError `memory_limit`, `process_limit`, `disk_limit` or `file_limit` if a limit was exceeded."""
        if self._exceeded:
            self._exceeded.stage = stage
            raise self._exceeded

    def check_end(self, status: int, stage: Stage) -> None:
        """The same for a command that failed, also if a limit in the kernel ended it."""
        self._check_group()
        limit = _format_size(self._limits.max_file_bytes)
        too_large = f"A file reached the limit of {limit}. Write smaller files, or raise AGENT_RUNNERS_MAX_FILE_BYTES."
        if status == 128 + signal.SIGXFSZ:
            self._exceed_disk(too_large)
        end = time.monotonic() + _LAST_WALK_SECONDS
        for found in self._walk():
            if self._exceeded or time.monotonic() > end:
                break
            if found.largest >= self._limits.max_file_bytes:
                self._exceed_disk(too_large)
        self.check(stage)

    @contextlib.contextmanager
    def watching(self, supervisor: int) -> Iterator[None]:
        """Monitor while the context is open. The command's processes are descendants of `supervisor`."""
        stopped = threading.Event()
        thread = threading.Thread(target=self._run, args=(supervisor, stopped), name="monitor", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _run(self, supervisor: int, stopped: threading.Event) -> None:
        walk, walk_at, check_at = self._walk(supervisor), 0.0, 0.0
        pace = _Pace(self._limits, self._folders[0])
        while not self._exceeded and not stopped.wait(pace.rest):
            now = time.monotonic()
            if now >= check_at:
                self._check_group()
                self._check_processes(supervisor)
                check_at = now + _CHECK_SECONDS
            if now >= walk_at:
                end = now + _WALK_SECONDS
                found = next(
                    (each for each in walk if each.complete or time.monotonic() >= end), DiskUsage(complete=True)
                )
                pace.choose(found)
                if found.complete:
                    walk, walk_at = self._walk(supervisor), time.monotonic() + _BETWEEN_WALKS_SECONDS

    def _check_group(self) -> None:
        if self._group and self._group.oom_kills():
            self._exceed_memory()
        elif self._group and self._group.refused_processes():
            self._exceed_processes()

    def _check_processes(self, supervisor: int) -> None:
        found = descendants(supervisor)
        if sum(int(fields[_THREADS]) for fields in found.values()) > self._limits.max_processes:
            self._exceed_processes()
        resident = sum(int(fields[_RESIDENT]) for fields in found.values()) * _PAGE
        # This counts shared memory more than once. The exact count is slower and rarely needed.
        if resident > self._limits.max_memory_bytes and _share(found) > self._limits.max_memory_bytes:
            self._exceed_memory()

    def _walk(self, supervisor: int | None = None) -> Iterator[DiskUsage]:
        """Count the files in the folders until a limit is exceeded. Yields the counts so far, repeatedly."""
        for found in measure(self._folders, supervisor):
            self._compare(found)
            yield found
            if self._exceeded:
                break

    def _compare(self, found: DiskUsage) -> None:
        limits = self._limits
        if found.allocated > limits.max_disk_bytes:
            limit = _format_size(limits.max_disk_bytes)
            self._exceed_disk(f"The files occupy more than the limit of {limit}. {_raise('DISK_BYTES')}")
        elif found.memory > limits.max_memory_bytes:
            self._exceed_memory()
        elif found.files > limits.max_disk_files:
            limit = f"{limits.max_disk_files:,}"
            message = f"There are more files and folders than the limit of {limit}. {_raise('DISK_FILES')}"
            self._exceeded = EngineError("file_limit", "agent", message)

    def _exceed_memory(self) -> None:
        limit = _format_size(self._limits.max_memory_bytes)
        message = f"The processes used more memory than the limit of {limit}. {_raise('MEMORY_BYTES')}"
        self._exceeded = EngineError("memory_limit", "agent", message)

    def _exceed_processes(self) -> None:
        limit = f"{self._limits.max_processes:,}"
        message = f"There were more processes and threads than the limit of {limit}. {_raise('PROCESSES')}"
        self._exceeded = EngineError("process_limit", "agent", message)

    def _exceed_disk(self, message: str) -> None:
        self._exceeded = EngineError("disk_limit", "agent", message)


def _raise(name: str) -> str:
    return f"Use less, or raise AGENT_RUNNERS_MAX_{name}."


class _Pace:
    """How long the monitor pauses: briefly if the free space of the file system shows that a lot is being written."""

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._limits = limits
        self._folder = folder
        self._bytes, self._files = self._left()
        self._last = DiskUsage()
        self.rest = _SHORT_REST_SECONDS

    def choose(self, found: DiskUsage) -> None:
        """Choose the rest after a walk or a part of one."""
        free, files = self._left()
        taken = self._bytes - free > self._limits.max_disk_bytes - self._last.allocated
        made = self._files - files > self._limits.max_disk_files - self._last.files
        self.rest = _SHORT_REST_SECONDS if taken or made else _REST_SECONDS
        if found.complete:
            self._bytes, self._files, self._last = free, files, found

    def _left(self) -> tuple[int, int]:
        with contextlib.suppress(OSError):
            left = os.statvfs(self._folder)
            return left.f_bfree * left.f_frsize, left.f_ffree
        return 0, 0


def _share(processes: Iterable[int]) -> int:
    """The bytes of memory of the processes, each with its share of memory that it shares with others."""
    total = 0
    for pid in processes:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:
            total += next(int(line.split()[1]) * 1024 for line in rollup if line.startswith(b"Pss:"))
    return total


def _format_size(size: int) -> str:
    return f"{size / 1024**3:.3g} GiB" if size >= 1024**3 else f"{size / 1024**2:.3g} MiB"
