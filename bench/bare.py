"""A Celery application with the product's configuration and one task that does nothing but say when it began."""

from __future__ import annotations

import time
from pathlib import Path

from app import queue

app = queue.celery()


@app.task(name="bare.begin")
def begin(file: str) -> None:
    """Write the time, in seconds, to `file`, which appears with all of it."""
    unfinished = Path(f"{file}.new")
    unfinished.write_text(repr(time.time()))
    unfinished.rename(file)
