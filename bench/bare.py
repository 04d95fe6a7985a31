"""A Celery application with the product's configuration and two tasks that only record that they have started."""

from __future__ import annotations

import os
import time
from pathlib import Path

from app import queue

app = queue.celery()


@app.task(name="bare.begin")
def begin(file: str) -> None:
    """Write the time, in seconds, to `file`."""
    _write(file, repr(time.time()))


@app.task(name="bare.hang")
def hang(file: str) -> None:
    """Write the id of this process to `file`, and sleep until the process is killed."""
    _write(file, str(os.getpid()))
    while True:
        time.sleep(3600)


def _write(file: str, text: str) -> None:
    """Write `file` atomically."""
    unfinished = Path(f"{file}.new")
    unfinished.write_text(text)
    unfinished.rename(file)
