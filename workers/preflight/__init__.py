"""Checks of what a session would need, without starting one. They change nothing and cost nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workers.errors import EngineError


@dataclass(frozen=True)
class Check:
    """What one check found. `message` says what to do if it failed; `code` is stable, and None where all is well."""

    name: str
    status: Literal["ok", "failed", "skipped"]
    message: str
    code: str | None = None


def failed(name: str, error: EngineError) -> Check:
    """The check that raised `error`."""
    return Check(name, "failed", error.message, error.code)
