"""What is said of one part of the deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.config import own_secrets, settings
from app.redaction.secrets import Secrets

State = Literal["working", "missing", "failing", "off"]
FAULTS = "docs/faults.md says more"


@dataclass(frozen=True)
class Finding:
    """One part of the deployment. `remedy` is empty where nothing is to be done."""

    part: str
    state: State
    detail: str
    remedy: str = ""


def broken(part: str, error: Exception, remedy: str) -> Finding:
    """A part that failed while it was looked at. Secrets of the deployment are left out of what it said."""
    detail = str(error).splitlines()[0] if str(error) else ""
    return Finding(
        part, "missing", Secrets(None, own_secrets(settings())).redact(f"{type(error).__name__}: {detail}"), remedy
    )
