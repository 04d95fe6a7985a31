"""Watches from outside what an attempt uses, whether or not something else holds it to its limits.

A thread of its own looks at the processes twice a second and walks through the files at a pace that costs a few
percent of one processor: the reading of output never waits for it.
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
from workers.processes.supervisor import descendants

_LOOK_SECONDS = 0.5
_BETWEEN_WALKS_SECONDS = 1.0
# A walk goes on for a moment and then rests. Where the disk fills up quickly it hardly rests at all.
_WALK_SECONDS, _REST_SECONDS, _SHORT_REST_SECONDS = 0.01, 0.2, 0.01
_LAST_WALK_SECONDS = 5.0
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Fields of /proc/ID/stat, counted from the one after the name (proc(5)).
_THREADS, _RESIDENT = 17, 21


class Monitor:
    """Watches the folders of one attempt and, while `over` is open, the processes of one command."""

    def __init__(self, limits: Limits, folders: Sequence[Path], group: Group | None) -> None:
        self._limits = limits
        self._folders = folders
        self._group = group
        self._passed: EngineError | None = None

    def check(self, stage: Stage) -> None:
        """Raise EngineError `memory_limit`, `process_limit`, `disk_limit` or `file_limit` if a limit was passed."""
        if self._passed:
            self._passed.stage = stage
            raise self._passed

    def check_end(self, status: int, stage: Stage) -> None:
        """The same for a command that failed: it may have been a limit of the kernel's that ended it."""
        self._look_at_group()
        too_large = f"A file was to become larger than the limit of {_format_size(self._limits.max_file_bytes)}."
        if status == 128 + signal.SIGXFSZ:
            self._pass_disk(too_large)
        end = time.monotonic() + _LAST_WALK_SECONDS
        for found in self._walk():
            if self._passed or time.monotonic() > end:
                break
            if found.largest >= self._limits.max_file_bytes:
                self._pass_disk(too_large)
        self.check(stage)

    @contextlib.contextmanager
    def over(self, supervisor: int) -> Iterator[None]:
        """Watch while the context is open. `supervisor` is the process that the command's processes descend from."""
        stopped = threading.Event()
        thread = threading.Thread(target=self._run, args=(supervisor, stopped), name="monitor", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def _run(self, supervisor: int, stopped: threading.Event) -> None:
        walk, walk_at, look_at = self._walk(supervisor), 0.0, 0.0
        pace = _Pace(self._limits, self._folders[0])
        while not self._passed and not stopped.wait(pace.rest):
            now = time.monotonic()
            if now >= look_at:
                self._look_at_group()
                self._look_at_processes(supervisor)
                look_at = now + _LOOK_SECONDS
            if now >= walk_at:
                end = now + _WALK_SECONDS
                found = next(
                    (each for each in walk if each.complete or time.monotonic() >= end), DiskUsage(complete=True)
                )
                pace.choose(found)
                if found.complete:
                    walk, walk_at = self._walk(supervisor), time.monotonic() + _BETWEEN_WALKS_SECONDS

    def _look_at_group(self) -> None:
        if self._group and self._group.out_of_memory():
            self._pass_memory()
        elif self._group and self._group.refused_processes():
            self._pass_processes()

    def _look_at_processes(self, supervisor: int) -> None:
        found = descendants(supervisor)
        if sum(int(fields[_THREADS]) for fields in found.values()) > self._limits.max_processes:
            self._pass_processes()
        resident = sum(int(fields[_RESIDENT]) for fields in found.values()) * _PAGE
        # What processes share counts more than once here; looking closer takes longer and is seldom needed.
        if resident > self._limits.max_memory_bytes and _share(found) > self._limits.max_memory_bytes:
            self._pass_memory()

    def _walk(self, supervisor: int | None = None) -> Iterator[DiskUsage]:
        """Count what the folders hold, and stop where it is too much. Yields again and again what it has so far."""
        for found in measure(self._folders, supervisor):
            self._compare(found)
            yield found
            if self._passed:
                break

    def _compare(self, found: DiskUsage) -> None:
        limits = self._limits
        if found.allocated > limits.max_disk_bytes:
            self._pass_disk(f"The files take up more than the limit of {_format_size(limits.max_disk_bytes)}.")
        elif found.memory > limits.max_memory_bytes:
            self._pass_memory()
        elif found.files > limits.max_disk_files:
            message = f"There are more files and folders than the limit of {limits.max_disk_files:,}."
            self._passed = EngineError("file_limit", "agent", message)

    def _pass_memory(self) -> None:
        message = f"The processes needed more memory than the limit of {_format_size(self._limits.max_memory_bytes)}."
        self._passed = EngineError("memory_limit", "agent", message)

    def _pass_processes(self) -> None:
        message = f"There were more processes and threads than the limit of {self._limits.max_processes:,}."
        self._passed = EngineError("process_limit", "agent", message)

    def _pass_disk(self, message: str) -> None:
        self._passed = EngineError("disk_limit", "agent", message)


class _Pace:
    """How long the monitor rests. What is left on the file system tells at once that a lot is being written."""

    def __init__(self, limits: Limits, folder: Path) -> None:
        self._limits = limits
        self._folder = folder
        self._bytes, self._files = self._left()
        self._known = DiskUsage()
        self.rest = _SHORT_REST_SECONDS

    def choose(self, found: DiskUsage) -> None:
        """Decide after a part of a walk, or a whole one."""
        free, files = self._left()
        taken = self._bytes - free > self._limits.max_disk_bytes - self._known.allocated
        made = self._files - files > self._limits.max_disk_files - self._known.files
        self.rest = _SHORT_REST_SECONDS if taken or made else _REST_SECONDS
        if found.complete:
            self._bytes, self._files, self._known = free, files, found

    def _left(self) -> tuple[int, int]:
        with contextlib.suppress(OSError):
            left = os.statvfs(self._folder)
            return left.f_bfree * left.f_frsize, left.f_ffree
        return 0, 0


def _share(processes: Iterable[int]) -> int:
    """The bytes of memory of the processes, each with its share of what it has in common with others."""
    total = 0
    for pid in processes:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:
            total += next(int(line.split()[1]) * 1024 for line in rollup if line.startswith(b"Pss:"))
    return total


def _format_size(size: int) -> str:
    return f"{size / 1024**3:.3g} GiB" if size >= 1024**3 else f"{size / 1024**2:.3g} MiB"
