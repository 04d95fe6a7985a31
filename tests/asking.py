"""Runners and follow-ups made by the verbs themselves. To be called in a transaction."""

from __future__ import annotations

import uuid
from typing import Any

from app.models import AgentRunner, AgentRunnerSession
from app.services.artifacts.uploads import Uploaded
from app.services.callers import Caller
from app.services.runners import agent_runner_sessions, agent_runners
from app.services.runners.agent_runners import Prepared
from app.services.runners.creation import FollowUp, NewRunner


def new_runner(
    caller: Caller, site_id: uuid.UUID, prompt: str = "Say hello.", prepared: Prepared | None = None, **fields: Any
) -> AgentRunner:
    new = NewRunner(site_id=site_id, prompt=prompt, **fields)
    return agent_runners.create(caller, new, prepared or Prepared())[0]


def new_session(
    caller: Caller, runner_id: uuid.UUID, prompt: str = "More.", uploaded: Uploaded | None = None, **fields: Any
) -> AgentRunnerSession:
    return agent_runner_sessions.create(caller, runner_id, FollowUp(prompt=prompt, **fields), uploaded or {})
