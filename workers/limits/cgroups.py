"""Control groups: the kernel counts and limits what the processes of one attempt, or of one git command, use together.

Versions 1 and 2 work, if the worker may create groups: as root, or in a subtree that is delegated to its user
(systemd's `Delegate=yes` with `DelegateSubgroup=`). The files are documented in the kernel's
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1. Each attempt has one group, named like its workspace; for
those of git see `git_group.py`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.job import Limits

_CONTROLLERS = ("memory", "pids", "cpu")
_PARENT = "agent-runners"
_CPU_PERIOD = 100_000
# Below the kernel's default, 100, and 1024 in version 1, so that the worker, the database and the API have priority.
_WEIGHT, _SHARES = 25, 256
# Ten times what a group has that sets nothing.
_FIRST = {1: ("cpu.shares", "10240"), 2: ("cpu.weight", "1000")}
_REMOVE_SECONDS = 5.0


@dataclass(frozen=True)
class GroupParents:
    """The parent folder of the groups, by controller. With version 2 it is the same for all."""

    folders: Mapping[str, Path]
    version: int


class Group:
    """One group, made by `open_group`."""

    def __init__(self, name: str, parents: GroupParents) -> None:
        self._folders = {controller: folder / name for controller, folder in parents.folders.items()}

    @property
    def procs_files(self) -> Sequence[str]:
        """The `cgroup.procs` files that a process writes to, to join the group."""
        return [str(folder / "cgroup.procs") for folder in sorted(set(self._folders.values()))]

    def oom_kills(self) -> int:
        """How many processes the kernel killed at the memory limit."""
        return self._count("memory", ("memory.events", "memory.oom_control"), "oom_kill")

    def refused_processes(self) -> int:
        """How many processes or threads the kernel refused to create at the limit."""
        return self._count("pids", ("pids.events",), "max")

    def remove(self) -> None:
        """Kill the remaining processes and remove the group. If that fails, the sweep tries again."""
        for folder in set(self._folders.values()):
            end = time.monotonic() + _REMOVE_SECONDS
            while folder.exists() and time.monotonic() < end:
                _kill(folder)
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    break
                time.sleep(0.01)

    def _count(self, controller: str, names: Sequence[str], word: str) -> int:
        if folder := self._folders.get(controller):
            for name in names:
                with contextlib.suppress(OSError):
                    lines = (line.split() for line in (folder / name).read_text().splitlines())
                    return next((int(line[1]) for line in lines if line[0] == word), 0)
        return 0


def open_group(
    name: str, limits: Limits, parents: GroupParents | None = None, *, comes_first: bool = False
) -> Group | None:
    """Create a group with these limits. None if the worker may not create groups.

    If it `comes_first`, it gets most of the processors that the groups of agents would get.
    """
    parents = parents or find_parents()
    if not parents.folders:
        return None
    group = Group(name, parents)
    group.remove()
    for controller, parent in parents.folders.items():
        (parent / name).mkdir(exist_ok=True)
        for file, value in _settings(controller, parents.version, limits, comes_first):
            # Not every kernel accounts swap.
            with contextlib.suppress(FileNotFoundError, PermissionError):
                (parent / name / file).write_text(value)
    return group


def remove_group(name: str) -> None:
    """Remove the group of an attempt whose worker was lost."""
    Group(name, find_parents()).remove()


def _settings(controller: str, version: int, limits: Limits, comes_first: bool) -> Iterator[tuple[str, str]]:
    memory, quota = str(limits.max_memory_bytes), int(limits.max_cpus * _CPU_PERIOD)
    if controller == "cpu" and comes_first:
        yield _FIRST[version]
    if controller == "pids":
        yield "pids.max", str(limits.max_processes)
    elif controller == "memory":
        both = (("memory.limit_in_bytes", memory), ("memory.memsw.limit_in_bytes", memory))
        yield from both if version == 1 else (("memory.max", memory), ("memory.swap.max", "0"))
    elif quota:
        both = (("cpu.cfs_period_us", str(_CPU_PERIOD)), ("cpu.cfs_quota_us", str(quota)))
        yield from both if version == 1 else (("cpu.max", f"{quota} {_CPU_PERIOD}"),)


@functools.cache
def find_parents(about_us: Path = Path("/proc/self")) -> GroupParents:
    """Where this worker may create groups. Tested once, by creating the parent folder."""
    mounts = _mounts(about_us / "mounts")
    own = {}
    for line in _lines(about_us / "cgroup"):
        _, names, path = line.split(":", 2)
        own.update(dict.fromkeys(names.split(","), path))
    if "" in mounts and (folder := _delegated(mounts[""], own.get("", "/"))):
        return GroupParents(dict.fromkeys(_CONTROLLERS, folder), 2)
    folders = {}
    for controller in _CONTROLLERS:
        if controller in mounts:
            here = mounts[controller] / own.get(controller, "/").lstrip("/")
            folder = (here if here.is_dir() else mounts[controller]) / _PARENT
            with contextlib.suppress(OSError):
                folder.mkdir(exist_ok=True)
                if not os.access(folder, os.W_OK):
                    continue  # The worker of another user created it.
                if controller == "cpu":
                    (folder / "cpu.shares").write_text(str(_SHARES))
                folders[controller] = folder
    return GroupParents(folders, 1)


def _mounts(table: Path) -> dict[str, Path]:
    """The mount point of each controller of version 1, and under the empty name that of version 2."""
    found = {}
    for line in _lines(table):
        _, target, kind, options, *_ = line.split(" ")
        if kind == "cgroup2":
            found[""] = Path(target)
        elif kind == "cgroup":
            found.update((name, Path(target)) for name in _CONTROLLERS if name in options.split(","))
    return found


def _delegated(mount: Path, own: str) -> Path | None:
    """A folder of version 2 whose groups have all controllers.

    It is beside the worker's own group, because a group that has processes cannot have child groups. If that is not
    possible, it is below the root, which needs a worker that is root.
    """
    for parent in dict.fromkeys((mount / own.lstrip("/") / "..", mount)):
        parent = Path(os.path.normpath(parent))
        with contextlib.suppress(OSError):
            if not parent.is_relative_to(mount):
                continue
            if not set(_CONTROLLERS) <= set((parent / "cgroup.controllers").read_text().split()):
                continue
            wanted = " ".join(f"+{name}" for name in _CONTROLLERS)
            (parent / "cgroup.subtree_control").write_text(wanted)
            (parent / _PARENT).mkdir(exist_ok=True)
            (parent / _PARENT / "cgroup.subtree_control").write_text(wanted)
            (parent / _PARENT / "cpu.weight").write_text(str(_WEIGHT))
            return parent / _PARENT
    return None


def _kill(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / "cgroup.kill").write_text("1")
        return
    for line in _lines(folder / "cgroup.procs"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(int(line), signal.SIGKILL)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
