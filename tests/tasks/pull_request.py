"""Runners on repositories of the demonstration forge, which publish there."""

from __future__ import annotations

import functools
import uuid
from typing import Any

import sqlalchemy as sa

from app import db
from app.models import AgentRunner, Publication
from app.models.states import Forge, PublicationKind, PublicationState, PullRequestState
from app.services.publishing import publications
from app.services.runners import agent_runner_sessions
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tasks.publications import publish
from tests.asking import new_session
from tests.demo.forge import DemoForge, Repository
from tests.tasks.conftest import read, runner_of
from tests.tasks.recorded import end_session
from tests.tasks.test_publishing import ada_of


@functools.cache
def _with_one_file(forge: DemoForge, object_format: str) -> Repository:
    """A repository to be copied, with `a.txt`."""
    return forge.make_repository("ada", f"one-{object_format}", {"a.txt": "a\n"}, object_format=object_format)


class OnForge:
    """A runner whose site is a repository of the forge. Its sessions are recorded, unless it `runs` them."""

    def __init__(
        self, forge: DemoForge, session_id: uuid.UUID, kind: Forge, like: Repository, *, runs: bool = False
    ) -> None:
        self.forge, self.first, self._runs = forge, session_id, runs
        self.ada = ada_of(session_id)
        self.repository = forge.copy(like, f"r{session_id.hex}")
        address = forge.repo_url(kind, self.repository.full_name)
        there = SiteFields(repo_url=address, forge=kind, access_token=forge.token)
        with db.transaction():
            sites.update(self.ada, self.runner.site_id, there)

    @property
    def runner(self) -> AgentRunner:
        return runner_of(self.first)

    @property
    def pull(self) -> dict[str, Any]:
        [pull] = self.forge.pulls(self.repository.full_name)
        return pull

    @property
    def head_sha(self) -> str:
        """The commit that the pull request shows."""
        return str(self.pull["head"]["sha"])

    def follow_up(self, script: str) -> None:
        with db.transaction():
            made = new_session(self.ada, self.runner.id, script, agent="shell")
        end_session(made.id, self.repository.folder, runs=self._runs)

    def publish(self, **fields: Any) -> AgentRunner:
        """Ask for the pull request and have it made; the runner then."""
        runner = self.request(fields)
        assert runner.pr_error is None
        return runner

    def request(self, fields: dict[str, Any]) -> AgentRunner:
        with db.transaction():
            publications.request_pull_request(self.ada, self.runner.id, fields)
            mine = Publication.agent_runner_id == read(self.first).agent_runner_id
            asked = db.session.scalars(sa.select(Publication).where(mine).order_by(Publication.id.desc())).first()
        publish(str(asked.id))
        return self.runner

    def edit(self, **values: Any) -> None:
        """Change the pull request as somebody does on the forge."""
        self.forge.http.patch(f"/repos/{self.repository.full_name}/pulls/1", json=values).raise_for_status()

    def merge(self) -> None:
        self.forge.merge(self.repository.full_name, 1)

    def wait(self) -> None:
        """Let the time pass until the pull request is to be looked at."""
        with db.transaction():
            passed = {"pr_check_due_at": db.now(-1), "updated_at": AgentRunner.updated_at}
            db.session.execute(sa.update(AgentRunner).values(passed))


class Work(OnForge):
    """A runner whose first session is done."""

    def __init__(
        self,
        forge: DemoForge,
        session_id: uuid.UUID,
        kind: Forge = Forge.GITHUB,
        object_format: str = "sha1",
        *,
        runs: bool = False,
    ) -> None:
        super().__init__(forge, session_id, kind, _with_one_file(forge, object_format), runs=runs)
        end_session(session_id, self.repository.folder, runs=runs)


class Opened(OnForge):
    """A runner at rest, whose pull request is number 1 with the branch `feature`. No session was run for it."""

    def __init__(self, forge: DemoForge, session_id: uuid.UUID, kind: Forge = Forge.GITHUB) -> None:
        super().__init__(forge, session_id, kind, forge.with_pull_request)
        runner = self.runner
        with db.transaction():
            agent_runner_sessions.stop_active(self.ada, runner.id)
            known = {"pr_number": 1, "pr_branch": "feature", "pr_state": PullRequestState.OPEN, "branch": "main"}
            db.session.execute(sa.update(AgentRunner).values(known))
            db.session.add(self._published(runner))

    def _published(self, runner: AgentRunner) -> Publication:
        pushed = self.repository.branches()["feature"]
        return Publication(
            agent_runner_id=runner.id,
            user_id=runner.user_id,
            kind=PublicationKind.PULL_REQUEST,
            state=PublicationState.DONE,
            diff_key="none",
            branch="feature",
            planned_shas=[pushed],
            pushed_sha=pushed,
        )
