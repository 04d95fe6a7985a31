"""What an external worker sends in a report."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from app.models import AgentRunnerSession
from app.models.states import SessionState
from app.redaction.secrets import Secrets
from app.services.execution.outcomes import with_ids
from app.services.sites import site_secrets
from app.services.unset import UNSET, Unset


@dataclass(frozen=True, kw_only=True)
class Report:
    """The fields of a report. One that is left out keeps the value that the session has; null removes it."""

    title: str | Unset | None = UNSET
    steps: list[dict[str, Any]] | Unset = UNSET
    result: str | Unset | None = UNSET
    result_branch: str | Unset | None = UNSET
    state: SessionState | Unset = UNSET
    duration: int | Unset | None = UNSET
    current_task: str | Unset | None = UNSET
    result_diff: str | Unset | None = UNSET
    result_diff_s3_key: str | Unset | None = UNSET
    cumulative_diff: str | Unset | None = UNSET
    cumulative_diff_s3_key: str | Unset | None = UNSET
    questions: list[dict[str, Any]] | Unset | None = UNSET
    usage: dict[str, Any] | Unset | None = UNSET
    commit_sha: str | Unset | None = UNSET
    base_deploy_id: str | Unset | None = UNSET

    @property
    def has_diffs(self) -> bool:
        return bool(self.result_diff or self.result_diff_s3_key or self.cumulative_diff or self.cumulative_diff_s3_key)

    @property
    def has_texts(self) -> bool:
        return bool(self.title or self.current_task or self.result or self.steps or self.questions)

    @property
    def has_at_most_a_title(self) -> bool:
        return self == Report(title=self.title)

    @property
    def is_work_alone(self) -> bool:
        """Whether it sends diffs, and with them at most the usage."""
        work = Report(
            usage=self.usage,
            result_diff=self.result_diff,
            result_diff_s3_key=self.result_diff_s3_key,
            cumulative_diff=self.cumulative_diff,
            cumulative_diff_s3_key=self.cumulative_diff_s3_key,
        )
        return self == work != Report(usage=self.usage)

    def redacted(self, secrets: Secrets) -> Report:
        """The report with known secrets redacted from its texts. Its diffs are unchanged."""
        redact = secrets.redact
        task = self.current_task
        steps = [
            {
                "title": redact(step["title"]),
                "message": redact(step.get("message") or ""),
                "category": step["category"],
                "ref": redact(step["ref"]) if step.get("ref") else None,
            }
            for step in self.steps or []
        ]
        return dataclasses.replace(
            self,
            title=site_secrets.title_without(secrets, self.title) if self.title else self.title,
            current_task=site_secrets.title_without(secrets, task) if task else task,
            result=redact(self.result) if self.result else self.result,
            steps=steps or self.steps,
            questions=[
                {"question": redact(each["question"]), "choices": [redact(choice) for choice in each["choices"]]}
                for each in self.questions
            ]
            if self.questions
            else self.questions,
        )

    def write(self, session: AgentRunnerSession) -> None:
        """Set the session's fields, except for those of its state, steps and work."""
        if self.title is not UNSET:
            session.title = self.title
        if self.result is not UNSET:
            session.result = self.result
        if self.questions is not UNSET:
            session.questions = with_ids(self.questions)
        if self.result_branch is not UNSET:
            session.result_branch = self.result_branch
        if self.duration is not UNSET:
            session.duration = self.duration
        if self.current_task is not UNSET:
            session.current_task = self.current_task
        if self.commit_sha is not UNSET:
            session.commit_sha = self.commit_sha
        if self.base_deploy_id is not UNSET:
            session.base_deploy_id = self.base_deploy_id
