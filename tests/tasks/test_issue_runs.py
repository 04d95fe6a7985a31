"""An issue starts one runner, which reports on it in one comment, and whose pull request closes it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from app import db
from app.demo.forge import discussions, issues
from app.models import AgentRunner, AgentRunnerSession, ForgeDelivery
from app.models.states import BudgetPeriod, Forge, ForgeDeliveryState
from app.services.budgets import budgets
from app.services.budgets.budgets import BudgetFields, Whose
from app.services.forge_webhooks import deliveries, webhooks
from app.services.forge_webhooks.webhooks import ForgeWebhookFields
from app.services.runners import agent_runner_sessions
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from tasks.publications import publish
from tests.asking import new_session
from tests.demo.forge import DemoForge
from tests.tasks.pull_request import Opened
from tests.tasks.talk import Talk, record_of, sweep
from tests.tasks.test_forge_accounts import connect

STRANGER, NUMBER = "eve", 2
"""Who wrote the issue. The pull request of `Opened` has the number before."""


class Desk(Talk):
    """A repository with an issue."""

    def __init__(self, work: Opened, kind: Forge = Forge.GITHUB, **fields: Any) -> None:
        super().__init__(work, kind, **{"issue_label": "agent", **fields})
        with db.transaction():
            sites.update(work.ada, work.runner.site_id, SiteFields(default_agent="shell"))
        issues.create(self.repository, STRANGER, "It breaks, @bob: closes #1", "Closes #1\n\n@agent-runners do it")

    def label(self, actor: str = "bob", delivery_id: str | None = None, name: str = "Agent") -> uuid.UUID | None:
        """Somebody labels the issue; the record of the delivery."""
        issues.label(self.repository, NUMBER, actor, name)
        return self.deliver_label(delivery_id, name)

    def deliver_label(self, delivery_id: str | None = None, name: str = "Agent") -> uuid.UUID | None:
        issue = {"number": NUMBER, "body": "", "labels": [{"name": "bug"}, {"name": name}]}
        labels = {"labels": {"previous": [{"title": "bug"}], "current": [{"title": "bug"}, {"title": name}]}}
        data: dict[Forge, dict[str, Any]] = {
            Forge.GITHUB: {"action": "labeled", "issue": issue, "label": {"name": name}},
            Forge.GITEA: {"action": "label_updated", "issue": issue},
            Forge.GITLAB: {"object_attributes": {"iid": NUMBER, "action": "update"}, "changes": labels},
        }
        return self.receive("issues", data[self.kind], delivery_id)

    def say(self, body: str, author: str = "bob") -> uuid.UUID | None:
        """Somebody comments on the issue."""
        entry = discussions.comment(self.repository, NUMBER, author, body)
        note = {"object_attributes": {"id": entry.id, "note": body, "noteable_type": "Issue", "action": "create"}}
        comment = {"action": "created", "comment": {"id": entry.id, "body": body}, "is_pull": False}
        about = {"issue": {"number": NUMBER, "iid": NUMBER}}
        return self.receive("issue_comment", {**about, **(note if self.kind == Forge.GITLAB else comment)})

    def open(self, header: str | None = None) -> uuid.UUID | None:
        """Deliver that the issue was opened."""
        issue = issues.get(self.repository, NUMBER)
        opened = {"action": "opened", "issue": {"number": NUMBER, "body": issue.body, "labels": []}}
        attributes = {"iid": NUMBER, "action": "open", "description": issue.body}
        on_gitlab = {"object_attributes": attributes, "labels": [], "changes": {}}
        return self.receive(header or "issues", on_gitlab if self.kind == Forge.GITLAB else opened)

    def reported(self) -> list[str]:
        """The comments of ours on the issue."""
        return [each.body for each in discussions.entries(self.repository, NUMBER) if each.user == "demo"]

    def runners(self) -> list[AgentRunner]:
        with db.transaction(read_only=True):
            mine = sa.select(AgentRunner).where(AgentRunner.issue_number == NUMBER)
            return list(db.session.scalars(mine))

    def begin(self, delivery_id: uuid.UUID | None) -> None:
        """Read the request, and report that it has begun."""
        assert self.read(delivery_id) == ForgeDeliveryState.PENDING
        assert self.read(delivery_id) == ForgeDeliveryState.STARTED

    def why(self, delivery_id: uuid.UUID | None) -> str | None:
        """The reason for which a request is ignored."""
        assert delivery_id is not None and self.read(delivery_id) == ForgeDeliveryState.IGNORED
        return record_of(delivery_id).error


@pytest.fixture
def make_desk(ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge) -> Callable[..., Desk]:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")

    def make(kind: Forge = Forge.GITHUB, **fields: Any) -> Desk:
        return Desk(Opened(forge, ask("true"), kind), kind, **fields)

    return make


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()


def test_a_label_starts_one_runner_that_reports_in_one_comment_and_closes_the_issue(desk: Desk) -> None:
    asked = desk.label()
    assert [desk.deliver_label("l2"), desk.deliver_label("l3")] == [asked, asked], "they are read together"
    desk.begin(asked)
    again = [desk.deliver_label(each) for each in ("l4", "l4", "l5")]
    assert desk.why(again[0]) == "The issue has a runner already." and again[0] == again[1]
    assert issues.get(desk.repository, NUMBER).reactions == ["eyes"]
    assert [text.partition("\n")[0] for text in desk.reported()] == ["I am working on this."]
    prompt = desk.session(asked).prompt
    assert "> Closes #1" in prompt and f"Resolve issue {NUMBER} on GitHub" in prompt and not desk.session(asked).may_ask
    report, pull = resolve(desk, asked)
    assert pull["number"] == 3 and f"@bob Done in {pull['html_url']}." in report
    lines = pull["body"].splitlines()
    assert lines[1] == f"Closes #{NUMBER}" and "#1" not in pull["body"] and "@agent-runners" not in pull["body"]
    assert "@bob" not in pull["title"] and "#1" not in pull["title"]
    # Everything once more, in another order.
    for each in (*again, asked, desk.deliver_label("l6")):
        if each is not None:
            desk.read(each)
    sweep()
    assert desk.reported() == [report] and len(desk.runners()) == 1
    more = desk.say("@agent-runners and tests")
    desk.read(more)
    assert desk.read(more) == ForgeDeliveryState.DONE
    assert f"Please ask me on {runner_of_issue(desk).pr_url}." in desk.reported()[-1]


def resolve(desk: Desk, asked: uuid.UUID | None) -> tuple[str, dict[str, Any]]:
    """Run and publish what was asked for; the report on the issue, and the pull request."""
    run_as_asked(desk, asked)
    sweep()
    assert asked is not None
    publish(str(record_of(asked).publication_id))
    sweep()
    assert desk.read(asked) == ForgeDeliveryState.DONE
    [report] = desk.reported()
    [pull, _] = desk.work.forge.pulls(desk.repository.full_name)
    return report, pull


def test_a_pull_request_that_an_issue_asks_for_is_not_opened_by_the_person_of_the_webhook(desk: Desk) -> None:
    assert connect(desk.work, Forge.GITHUB, "ada") is None
    asked = desk.label()
    desk.begin(asked)
    run_as_asked(desk, asked)
    # Somebody works on before the issue's work is published. Then the latest session is not the issue's any more.
    with db.transaction():
        more = new_session(desk.work.ada, runner_of_issue(desk).id, "echo three > a.txt", agent="shell")
    desk.end(more.id)
    sweep()
    assert asked is not None
    publish(str(record_of(asked).publication_id))
    [pull, _] = desk.work.forge.pulls(desk.repository.full_name)
    assert pull["user"]["login"] == "demo"


def run_as_asked(desk: Desk, delivery_id: uuid.UUID | None) -> None:
    """Run the session. Its prompt is what is published, so the script is in the place of the agent's command."""
    session = desk.session(delivery_id)
    asked = session.prompt
    with db.transaction():
        db.session.get_one(AgentRunnerSession, session.id).prompt = "echo two > a.txt; echo Did two."
    desk.end(session.id)
    with db.transaction():
        db.session.get_one(AgentRunnerSession, session.id).prompt = asked


def runner_of_issue(desk: Desk) -> AgentRunner:
    [runner] = desk.runners()
    return runner


def test_only_people_who_may_write_and_are_allowed_start_a_runner(make_desk: Callable[..., Desk]) -> None:
    desk = make_desk(allowed_people=["Bob", "helper[bot]", "cleo"])
    for login, may in (("ann", "admin"), ("cleo", "read"), ("helper[bot]", "write")):
        discussions.permit(desk.repository, login, may)
    assert desk.why(desk.open()) == "eve may not write to the repository."
    assert desk.why(desk.label("ann")) == "ann is not one of the allowed people."
    assert desk.why(desk.label("helper[bot]")) == "It is not known that a person asks for this."
    assert desk.why(desk.say("@agent-runners do it", "cleo")) == "cleo may not write to the repository."
    assert desk.why(desk.say("@agent-runners do it", "helper[bot]")) == "It is not known that a person asks for this."
    assert desk.label("bob", name="bug") is desk.say("Well done.") is None
    assert desk.runners() == [] and desk.reported() == [] and issues.get(desk.repository, NUMBER).reactions == []
    on_pull_request = desk.comment("@agent-runners go on", "ann")
    assert desk.why(on_pull_request) == "ann is not one of the allowed people."
    asked = desk.label()
    issues.edit(desk.repository, NUMBER, labels=[], body="Never mind.")
    assert "neither the label agent nor a mention" in (desk.why(asked) or "")
    issues.edit(desk.repository, NUMBER, state="closed")
    assert desk.why(desk.label()) == "The issue is closed."
    with db.transaction():
        webhooks.update(desk.work.ada, desk.work.runner.site_id, ForgeWebhookFields(issue_label=None))
    assert desk.label() is desk.say("@agent-runners do it") is None


def test_two_workers_that_read_one_issue_create_one_runner(desk: Desk) -> None:
    first = desk.label()
    assert first is not None
    with db.transaction():
        assert deliveries.claim(first) is not None
    second = desk.deliver_label("l2")
    assert second != first and desk.read(second) == ForgeDeliveryState.PENDING
    with db.transaction():
        lost = sa.update(ForgeDelivery).where(ForgeDelivery.id == first).values(lease_expires_at=db.now(-1))
        db.session.execute(lost)
    with db.transaction():
        deliveries.repair(first)
    assert desk.why(first) == "The issue has a runner already." and len(desk.runners()) == 1


def test_a_mention_waits_for_a_budget_and_its_words_are_in_the_prompt(desk: Desk) -> None:
    with db.transaction():
        budget = budgets.create(desk.work.ada, Whose(), BudgetPeriod.DAY, BudgetFields(max_tokens=0)).budget.id
    asked = desk.say("@agent-runners use the logger")
    assert desk.read(asked) == ForgeDeliveryState.PENDING
    assert asked is not None and record_of(asked).next_dispatch_at is not None and desk.runners() == []
    with db.transaction():
        budgets.delete(desk.work.ada, budget)
    desk.begin(asked)
    assert "> @agent-runners use the logger" in desk.session(asked).prompt
    with db.transaction():
        agent_runner_sessions.stop_active(desk.work.ada, runner_of_issue(desk).id)
    sweep()
    assert desk.read(asked) == ForgeDeliveryState.DONE
    [report] = desk.reported()
    assert "@bob The session was stopped, so nothing has changed." in report, "the same comment is edited"


@pytest.mark.parametrize("kind", [Forge.GITLAB, Forge.GITEA])
def test_issues_on_other_forges_start_runners_as_well(make_desk: Callable[..., Desk], kind: Forge) -> None:
    desk = make_desk(kind)
    assert desk.why(desk.open()) == "eve may not write to the repository."
    assert desk.deliver_label(name="bug") is desk.say("Well done.") is None
    if kind == Forge.GITLAB:
        assert desk.open("Confidential Issue Hook") is None
    asked = desk.label()
    desk.begin(asked)
    assert issues.get(desk.repository, NUMBER).reactions == ["eyes"]
    assert [text.partition("\n")[0] for text in desk.reported()] == ["I am working on this."]
    assert "> Closes #1" in desk.session(asked).prompt
    report, pull = resolve(desk, asked)
    assert f"@bob Done in {runner_of_issue(desk).pr_url}." in report
    assert pull["number"] == 3 and f"Closes #{NUMBER}" in pull["body"].splitlines()
    more = desk.say("@agent-runners and tests")
    assert more is not None
    desk.read(more)
    assert desk.read(more) == ForgeDeliveryState.DONE
    assert f"Please ask me on {runner_of_issue(desk).pr_url}." in desk.reported()[-1]
