"""The output of a process as it arrives."""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Iterator

from workers.processes.launch import Supervised

_CHUNK = 1 << 18
_TICK_SECONDS = 0.25


def read_output(popen: subprocess.Popen[bytes] | Supervised) -> Iterator[tuple[bytes, bool]]:
    """The output of the process, each chunk with whether it is standard error, and an empty chunk at every tick.

    Standard output may be a file, and is not read then.
    """
    with selectors.DefaultSelector() as selector:
        for pipe in (popen.stdout, popen.stderr):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select(_TICK_SECONDS):
                data = os.read(key.fd, _CHUNK)
                if data:
                    yield data, key.fileobj is popen.stderr
                else:
                    selector.unregister(key.fileobj)
            yield b"", False
