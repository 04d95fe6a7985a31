"""Tells the worker what calls used, how their answers ended, and which requests were refused. The worker acknowledges all but
the last."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import socket
import threading

from .counts import Counts


class Reports:
    """Writes lines of JSON to the worker's connection, each with a `kind`. Safe to use from several threads."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._acknowledged = threading.Semaphore(0)
        self._calls = itertools.count(1)

    def wait_for_end(self) -> None:
        """Read acknowledgements until the worker closes the connection."""
        while read := self._connection.recv(4096):
            for _ in read:
                self._acknowledged.release()

    def next_call(self) -> int:
        """The number of a new call."""
        return next(self._calls)

    def used(self, call: int, model: str | None, url: str, counts: Counts | None) -> None:
        """Report what a call has used so far; None if its answer did not say. Returns when the worker has counted it.

        It never does if the budget is used up: then the worker ends this process, and with it all calls.
        """
        fields = dataclasses.asdict(counts) if counts else None
        self._tell({"kind": "used", "call": call, "model": model, "url": url, "counts": fields})

    def ended(self, model: str | None, error: str | None, *, complete: bool, offers_tools: bool) -> None:
        """Report the end of an answer. Returns when the worker knows it, so before the agent does."""
        fields = {"model": model, "error": error, "complete": complete, "offers_tools": offers_tools}
        self._tell({"kind": "ended", **fields})

    def limited(self, fields: dict[str, object]) -> None:
        """Report that the provider accepts no more calls for now."""
        self._tell({"kind": "limited", **fields})

    def write(self, line: bytes) -> None:
        """Report a refused request. These need no acknowledgement. `Refusals` writes here, as to a file."""
        with self._lock:
            self._send(line)

    def flush(self) -> None:
        """Nothing is kept back."""

    def _tell(self, fields: dict[str, object]) -> None:
        with self._lock:
            self._send(json.dumps(fields).encode() + b"\n")
            self._acknowledged.acquire()

    def _send(self, line: bytes) -> None:
        try:
            self._connection.sendall(line)
        except OSError:
            # The worker has ended.
            os._exit(0)
