"""A pull request that people write about, and whose checks end, with the webhook by which the forge says so."""

from __future__ import annotations

import base64
import hmac
import json
import uuid
from typing import Any

from app import db
from app.demo.forge import discussions
from app.demo.forge.discussions import Entry
from app.models import AgentRunnerSession, ForgeDelivery
from app.models.states import Forge, ForgeDeliveryState, PullRequestState
from app.services.forge_webhooks import deliveries, failed_checks, follow_ups, webhooks
from app.services.forge_webhooks.deliveries import Received
from app.services.forge_webhooks.webhooks import ForgeWebhookFields
from app.services.hooks.authenticity import Request
from tasks.forge_deliveries import follow_forge
from tasks.publications import publish
from tests.tasks.pull_request import Opened
from tests.tasks.recorded import end_session


def numbered(number: int) -> dict[str, Any]:
    """What every forge says of the pull request with that number when it has changed."""
    return {
        "pull_request": {"number": number},
        "object_attributes": {"iid": number},
        "pullrequest": {"id": number},
        "eventType": "git.pullrequest.updated",
        "resource": {"pullRequestId": number},
        "pullRequest": {"id": number},
    }


NUMBER = numbered(1)
_ON_BITBUCKET = {"pull_request": "pullrequest:updated", "issue_comment": "pullrequest:comment_created"}
_ON_DATA_CENTER = {"pull_request": "pr:from_ref_updated", "issue_comment": "pr:comment:added"}
_ON_GITLAB = {"pull_request": "Merge Request Hook", "issue_comment": "Note Hook", "issues": "Issue Hook"}


class PullRequestDeliveries:
    """A runner with a pull request, and the webhook by which its forge tells what happens to it."""

    number = 1
    """That of the pull request."""

    def __init__(self, work: Opened, kind: Forge = Forge.GITHUB, **fields: Any) -> None:
        self.work, self.kind = work, kind
        with db.transaction():
            fields_of_it = ForgeWebhookFields(**fields)
            self.webhook, self.secret = webhooks.create(work.ada, work.runner.site_id, fields_of_it)

    def deliver(self, delivery_id: str | None = None) -> uuid.UUID:
        """Deliver that something has happened; the id of the record."""
        found = self.receive("pull_request", numbered(self.number), delivery_id)
        assert found is not None
        return found

    def receive(self, event: str, data: dict[str, Any], delivery_id: str | None = None) -> uuid.UUID | None:
        """Deliver an event; the id of the record, if it is recorded."""
        received = Received(self._request(event, json.dumps(data).encode()), data, delivery_id or str(uuid.uuid4()))
        with db.transaction():
            found = deliveries.receive(self.webhook.id, received)
            return found.id if found else None

    def _request(self, event: str, body: bytes) -> Request:
        digest = hmac.new(self.secret.encode(), body, "sha256").hexdigest()
        headers: dict[Forge, dict[str, str]] = {
            Forge.GITHUB: {"X-GitHub-Event": event, "X-Hub-Signature-256": f"sha256={digest}"},
            Forge.GITLAB: {"X-Gitlab-Event": _ON_GITLAB.get(event, event), "X-Gitlab-Token": self.secret},
            Forge.GITEA: {"X-Gitea-Event": event, "X-Gitea-Signature": digest},
            Forge.BITBUCKET: {
                "X-Event-Key": _ON_BITBUCKET.get(event, event),
                "X-Hub-Signature": f"sha256={digest}",
            },
            Forge.AZURE_DEVOPS: {"Authorization": "Basic " + base64.b64encode(f":{self.secret}".encode()).decode()},
            Forge.BITBUCKET_DATA_CENTER: {
                "X-Event-Key": _ON_DATA_CENTER.get(event, event),
                "X-Hub-Signature": f"sha256={digest}",
            },
        }
        return Request(headers[self.kind].get, body)

    def follow(self, *ids: uuid.UUID) -> PullRequestState | None:
        """Run the task for these deliveries; the state that the runner shows then."""
        for delivery_id in ids:
            follow_forge(str(delivery_id))
            assert record_of(delivery_id).state == ForgeDeliveryState.DONE
        return self.work.runner.pr_state


def record_of(delivery_id: uuid.UUID) -> ForgeDelivery:
    with db.transaction(read_only=True):
        return db.session.get_one(ForgeDelivery, delivery_id)


class Talk(PullRequestDeliveries):
    """A pull request that people write about. Its sessions are recorded, unless the engine `runs` them."""

    def __init__(self, work: Opened, kind: Forge = Forge.GITHUB, *, runs: bool = False, **fields: Any) -> None:
        super().__init__(work, kind, **fields)
        self.repository, self._runs = work.repository, runs
        discussions.permit(self.repository, "bob", "write")

    def comment(self, body: str, author: str = "bob", **more: Any) -> uuid.UUID | None:
        """Somebody comments; the record of the delivery."""
        return self.deliver_comment(discussions.comment(self.repository, self.number, author, body), **more)

    def deliver_comment(
        self, entry: Entry, delivery_id: str | None = None, action: str = "created"
    ) -> uuid.UUID | None:
        issue = {"number": entry.number, "pull_request": {}}
        comment = {"id": entry.id, "body": entry.body}
        on_github = {"action": action, "issue": issue, "comment": comment, "is_pull": True}
        note = {"id": entry.id, "note": entry.body, "noteable_type": "MergeRequest", "action": action.removesuffix("d")}
        on_gitlab = {"object_attributes": note, "merge_request": {"iid": entry.number}}
        content = {"id": entry.id, "content": {"raw": entry.body}}
        on_bitbucket = {"pullrequest": {"id": entry.number}, "comment": content}
        thread = f"https://dev.azure.com/_apis/git/repositories/r/pullRequests/{entry.number}/threads/{entry.id}"
        at_azure = {"id": 1, "content": entry.body, "_links": {"threads": {"href": thread}}}
        on_azure = {"eventType": "ms.vss-code.git-pullrequest-comment-event", "resource": {"comment": at_azure}}
        on_data_center = {"pullRequest": {"id": entry.number}, "comment": {"id": entry.id, "text": entry.body}}
        others = {
            Forge.GITLAB: on_gitlab,
            Forge.BITBUCKET: on_bitbucket,
            Forge.AZURE_DEVOPS: on_azure,
            Forge.BITBUCKET_DATA_CENTER: on_data_center,
        }
        data = others.get(self.kind, on_github)
        is_edited = self.kind == Forge.BITBUCKET_DATA_CENTER and action == "edited"
        return self.receive("pr:comment:edited" if is_edited else "issue_comment", data, delivery_id)

    def deliver_review(self, review: Entry) -> list[uuid.UUID | None]:
        """What GitHub delivers of a review: itself, and each of its comments."""
        pull = {"pull_request": {"number": review.number}}
        submitted = {"action": "submitted", "review": {"id": review.id, "body": review.body}, **pull}
        comments = [each for each in discussions.entries(self.repository, self.number) if each.review_id == review.id]
        created = [
            {"action": "created", "comment": {"id": each.id, "pull_request_review_id": review.id, "body": each.body}}
            for each in comments
        ]
        each_of_them = [self.receive("pull_request_review_comment", {**each, **pull}) for each in created]
        return [*each_of_them, self.receive("pull_request_review", submitted)]

    def read(self, delivery_id: uuid.UUID | None) -> ForgeDeliveryState:
        follow_forge(str(delivery_id))
        return self.state(delivery_id)

    def state(self, delivery_id: uuid.UUID | None) -> ForgeDeliveryState:
        assert delivery_id is not None
        return record_of(delivery_id).state

    def session(self, delivery_id: uuid.UUID | None) -> AgentRunnerSession:
        assert delivery_id is not None
        with db.transaction(read_only=True):
            return db.session.get_one(AgentRunnerSession, record_of(delivery_id).session_id)

    def work_on(self, delivery_id: uuid.UUID | None, script: str = "echo two > a.txt; echo Did two.") -> None:
        """Run the session of a request. The agent of these tests is a shell, so the prompt becomes a script."""
        session = self.session(delivery_id)
        with db.transaction():
            db.session.get_one(AgentRunnerSession, session.id).prompt = script
        self.end(session.id)

    def end(self, session_id: uuid.UUID) -> None:
        end_session(session_id, self.repository.folder, runs=self._runs)

    def end_checks(self, delivery_id: str | None = None) -> uuid.UUID | None:
        """Deliver that a suite of checks, or a pipeline, has ended; the record of it."""
        if self.kind == Forge.GITLAB:
            pipeline = {"object_attributes": {"status": "failed", "ref": self.work.runner.pr_branch}}
            return self.receive("Pipeline Hook", pipeline, delivery_id)
        if self.kind == Forge.BITBUCKET:
            links = {"commit": {"href": f"https://bitbucket.example/commit/{self.work.head_sha}"}}
            status = {"commit_status": {"state": "FAILED", "links": links}}
            return self.receive("repo:commit_status_updated", status, delivery_id)
        if self.kind == Forge.GITEA:
            return self.receive("status", {"sha": self.work.head_sha, "state": "failure"}, delivery_id)
        if self.kind == Forge.AZURE_DEVOPS:
            build = {"sourceBranch": f"refs/pull/{self.number}/merge"}
            return self.receive("", {"eventType": "build.complete", "resource": build}, delivery_id)
        suite = {"head_branch": self.work.runner.pr_branch, "head_sha": self.work.head_sha}
        return self.receive("check_suite", {"action": "completed", "check_suite": suite}, delivery_id)

    def answers(self) -> list[str]:
        return [entry.body for entry in discussions.entries(self.repository, self.number) if entry.user == "demo"]

    def finish(self, delivery_id: uuid.UUID | None) -> str:
        """Publish the work and answer; the answer."""
        assert delivery_id is not None
        sweep()
        if publication_id := record_of(delivery_id).publication_id:
            publish(str(publication_id))
            sweep()
        assert self.read(delivery_id) == ForgeDeliveryState.DONE
        return self.answers()[-1]


def sweep() -> None:
    with db.transaction(read_only=True):
        ready = follow_ups.find_ready(10)
    for delivery_id in ready:
        doubtful = failed_checks.find_doubtful(delivery_id)
        with db.transaction():
            follow_ups.go_on(delivery_id, doubtful)
