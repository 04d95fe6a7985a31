"""Tells of what was refused: each thing once and at once, its repetitions as a number at the end."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import IO

# What is told is kept by the record; an agent that tries every host there is shall not fill it.
_MOST = 100
_OTHERS = ("other hosts", f"More than {_MOST} different connections were refused.")


class Refusals:
    """Writes lines of JSON, `{"target": T, "reason": R, "times": N}`. Safe to use from several threads."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._untold: Counter[tuple[str, str]] = Counter()
        self._told: set[tuple[str, str]] = set()

    def note(self, target: str, reason: str) -> None:
        """Tell of a refusal, or count it."""
        with self._lock:
            refusal = (target[:260], reason)
            if refusal not in self._told and len(self._told) >= _MOST:
                refusal = _OTHERS
            if refusal in self._told:
                self._untold[refusal] += 1
            else:
                self._told.add(refusal)
                self._tell(refusal, 1)

    def finish(self) -> None:
        """Tell how often what was told already has happened since."""
        with self._lock:
            for refusal, times in self._untold.items():
                self._tell(refusal, times)

    def _tell(self, refusal: tuple[str, str], times: int) -> None:
        target, reason = refusal
        self._output.write(json.dumps({"target": target, "reason": reason, "times": times}).encode() + b"\n")
        self._output.flush()
