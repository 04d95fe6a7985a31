"""A runner whose pull request is on the demonstration forge, made without running a session."""

from __future__ import annotations

import uuid

import sqlalchemy as sa

from app import db
from app.models import AgentRunner, Publication
from app.models.states import Forge, PublicationKind, PublicationState, PullRequestState
from app.services.runners import agent_runner_sessions
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tests.demo.forge import DemoForge
from tests.tasks.conftest import runner_of
from tests.tasks.test_publishing import ada_of


class Opened:
    """The pull request 1 of the branch `feature`, whose runner is at rest."""

    def __init__(self, forge: DemoForge, session_id: uuid.UUID, kind: Forge = Forge.GITHUB) -> None:
        self.forge, self.ada = forge, ada_of(session_id)
        self.repository = forge.copy(forge.with_pull_request, f"r{session_id.hex}")
        self._session_id = session_id
        full_name = self.repository.full_name
        there = SiteFields(repo_url=forge.repo_url(kind, full_name), forge=kind, access_token=forge.token)
        runner = self.runner
        with db.transaction():
            sites.update(self.ada, runner.site_id, there)
            agent_runner_sessions.stop_active(self.ada, runner.id)
            known = {"pr_number": 1, "pr_branch": "feature", "pr_state": PullRequestState.OPEN, "branch": "main"}
            db.session.execute(sa.update(AgentRunner).values(known))
            db.session.add(self._published(runner))

    def _published(self, runner: AgentRunner) -> Publication:
        return Publication(
            agent_runner_id=runner.id,
            user_id=runner.user_id,
            kind=PublicationKind.PULL_REQUEST,
            state=PublicationState.DONE,
            diff_key="none",
            branch="feature",
            planned_shas=[self.repository.branches()["feature"]],
            pushed_sha=self.repository.branches()["feature"],
        )

    @property
    def runner(self) -> AgentRunner:
        return runner_of(self._session_id)

    @property
    def head_sha(self) -> str:
        """The commit that the pull request shows."""
        [pull] = self.forge.pulls(self.repository.full_name)
        return str(pull["head"]["sha"])

    def edit(self, state: str) -> None:
        """Close or reopen it, as somebody does on the forge."""
        path = f"/repos/{self.repository.full_name}/pulls/1"
        self.forge.http.patch(path, json={"state": state}).raise_for_status()

    def merge(self) -> None:
        self.forge.merge(self.repository.full_name, 1)
