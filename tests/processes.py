"""The processes of this machine, as tests look at them from outside of every sandbox."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil


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


def forked_for(worker: int, name: str) -> list[psutil.Process]:
    """The live processes of that name, "supervisor" or "egress-proxy", below the fork server of a worker."""
    found = []
    # Processes may end meanwhile.
    with contextlib.suppress(psutil.NoSuchProcess):
        for server in psutil.Process(worker).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if server.name() == "fork-server":
                    found += [each for each in server.children() if each.name() == name]
    return found
