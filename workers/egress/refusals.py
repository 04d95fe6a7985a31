"""Reports refused connections: each one once, immediately, and the number of its repetitions at the end."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Protocol

# Each report is stored as a step. The limit keeps an agent that tries many hosts from filling the record.
_MAX_REPORTED = 100
_OTHERS = ("other hosts", f"More than {_MAX_REPORTED} different connections were refused.")


class Output(Protocol):
    """A file, or what is like one."""

    def write(self, line: bytes, /) -> object: ...
    def flush(self) -> object: ...


class Refusals:
    """Writes lines of JSON, `{"target": T, "reason": R, "times": N}`. Safe to use from several threads."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._repeated: Counter[tuple[str, str]] = Counter()
        self._reported: set[tuple[str, str]] = set()

    def add(self, target: str, reason: str) -> None:
        """Report a refusal, or count it if it was reported already."""
        with self._lock:
            refusal = (target[:260], reason)
            if refusal not in self._reported and len(self._reported) >= _MAX_REPORTED:
                refusal = _OTHERS
            if refusal in self._reported:
                self._repeated[refusal] += 1
            else:
                self._reported.add(refusal)
                self._write(refusal, 1)

    def finish(self) -> None:
        """Report how often each refusal was repeated."""
        with self._lock:
            for refusal, times in self._repeated.items():
                self._write(refusal, times)

    def _write(self, refusal: tuple[str, str], times: int) -> None:
        target, reason = refusal
        self._output.write(json.dumps({"target": target, "reason": reason, "times": times}).encode() + b"\n")
        self._output.flush()
