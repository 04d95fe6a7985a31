"""The result of checking one part of the deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.config import settings
from app.deployment_secrets import own_secrets
from app.redaction.secrets import Secrets

State = Literal["working", "missing", "failing", "off"]
FAULTS = "See docs/faults.md"


@dataclass(frozen=True)
class Finding:
    """One part of the deployment. `remedy` is empty if nothing needs to be done."""

    part: str
    state: State
    detail: str
    remedy: str = ""


def broken(part: str, error: Exception, remedy: str) -> Finding:
    """A part whose check raised an error. The deployment's secrets are redacted from the error."""
    detail = str(error).splitlines()[0] if str(error) else ""
    return Finding(
        part, "missing", Secrets(None, own_secrets(settings())).redact(f"{type(error).__name__}: {detail}"), remedy
    )
