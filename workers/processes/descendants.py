"""Finds and kills the descendants of a process, whatever they do to escape."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

# Depends on how the kernel was built; see proc(5).
_KERNEL_LISTS_CHILDREN = os.path.exists("/proc/thread-self/children")


def kill_descendants(root: int) -> None:
    """Stop every descendant of the process `root` first, so that none can fork meanwhile, then kill them all."""
    stopped: set[int] = set()
    while fresh := descendants(root).keys() - stopped:
        for pid in fresh:
            _signal(pid, signal.SIGSTOP)
        stopped |= fresh
    for pid in stopped:
        _signal(pid, signal.SIGKILL)


def descendants(root: int) -> dict[int, list[bytes]]:
    """All descendants of `root` by process id, each with the fields of its /proc/ID/stat after the name.

    Empty if there is no /proc.
    """
    children_of = _listed_children if _KERNEL_LISTS_CHILDREN else _children_by_parent()
    found: dict[int, list[bytes]] = {}
    unseen = [root]
    while unseen:
        for pid in children_of(unseen.pop()):
            if pid not in found and (fields := _fields_of(pid)):
                found[pid] = fields
                unseen.append(pid)
    return found


def _listed_children(pid: int) -> list[int]:
    """The children of a process, as the kernel lists them for each of its threads.

    A child that ends meanwhile may hide another. To find all of them, stop those that are found and call this again.
    """
    found: list[int] = []
    # A process or thread may end between the listing and the read.
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as children:
                found += map(int, children.read().split())
    return found


def _children_by_parent() -> Callable[[int], list[int]]:
    """The same from the stat file of every process, for kernels that list no children."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit() and (fields := _fields_of(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    return lambda pid: children.get(pid, [])


def _fields_of(pid: int) -> list[bytes]:
    """The fields of /proc/ID/stat after the name, which may contain spaces and parentheses; empty if it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()
    return []


def _signal(pid: int, number: int) -> None:
    # The process has ended, or is a set-uid program that belongs to another user now, which we may not signal.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
