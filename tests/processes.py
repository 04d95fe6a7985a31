"""The processes of this machine, as tests look at them from outside of every sandbox."""

import contextlib
import os
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


def each_process(file: str) -> Iterator[tuple[int, bytes]]:
    """The id of each live process, and what its `file` below /proc holds ("cmdline", "environ").

    Processes that end while we look are passed over. `Path.glob` does not do that: it asks after each file that it has
    listed, and raises `ProcessLookupError` for a process that has just ended.
    """
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                content = Path("/proc", name, file).read_bytes()
            except OSError:
                continue
            yield int(name), content


def do_in_child(work: Callable[[], object]) -> None:
    """Do what changes a process for good in a child of this one. Asserts that no exception ends it; the child prints it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def children() -> defaultdict[int, list[int]]:
    """The ids of the processes below each process, in one look at all of them."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for pid, stat in each_process("stat"):
        # The name is in parentheses and may contain anything. The state and the parent follow it.
        found[int(stat.rpartition(b")")[2].split()[1])].append(pid)
    return found


def name_of(pid: int) -> str:
    """The name of a process, empty if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def forked_for(workers: Iterable[int], *names: str) -> list[int]:
    """The live processes of these names, "supervisor", "egress-proxy" or "model-gateway", below the fork servers of workers."""
    below = children()

    def named(parents: Iterable[int], *names: str) -> list[int]:
        return [child for parent in parents for child in below[parent] if name_of(child) in names]

    servers = named(workers, "fork-server")
    return named([*servers, *named(servers, "fork-server-2")], *names)
