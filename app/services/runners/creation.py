"""What a caller sends to create a session or a runner."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.models.states import Mode


@dataclass(frozen=True, kw_only=True)
class NewSession:
    """What a new session is to do, and with what. None: the caller leaves the choice to the defaults."""

    prompt: str
    mode: Mode | None = None
    agent: str | None = None
    model: str | None = None
    effort: str | None = None
    limits: Mapping[str, float | None] | None = None
    file_keys: list[str] | None = None
    may_ask: bool = True
    """Whether the agent may end with questions. No one answers those of runs that no person starts."""
    quotes_others: bool = False
    """Whether the prompt quotes what others wrote, such as an issue: the caller does not answer for it."""
    requested_by: str | None = None
    """Who asks for it on the forge, where it is not the caller."""


@dataclass(frozen=True, kw_only=True)
class FollowUp(NewSession):
    """A further session of a runner, which may answer the questions of the one before."""

    prompt: str = ""
    answers: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, kw_only=True)
class NewRunner(NewSession):
    """A new runner, with what its first session is to do."""

    site_id: uuid.UUID
    branch: str | None = None
    sha: str | None = None
    title: str | None = None
    parent_agent_runner_id: uuid.UUID | None = None
    base_deploy_id: str | None = None
    schedule_id: uuid.UUID | None = None
    issue_number: int | None = None
