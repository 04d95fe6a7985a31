"""A day on each forge: an issue or a prompt, a pull request, red checks, a comment, a base that moves, and a merge.

Everything is delivered three times, and once more at the end in another order.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from app import db
from app.demo.forge import checks, discussions
from app.models import AgentRunner, ForgeDelivery
from app.models.states import Forge, ForgeDeliveryState, OnFailedChecks, PullRequestState, RunnerState, SessionState
from tasks.publications import check_pull_requests
from tests.demo.forge import DemoForge
from tests.matrix import usual
from tests.tasks.pull_request import Opened, Work
from tests.tasks.talk import Talk, numbered, sweep
from tests.tasks.test_base_drift import rebase
from tests.tasks.test_issue_runs import Desk, resolve

AUTOMATIC = {"on_failed_checks": OnFailedChecks.AUTOMATIC, "archive_merged": True}
WITH_ISSUES = (Forge.GITHUB, Forge.GITLAB, Forge.GITEA)
KINDS = (*WITH_ISSUES, Forge.BITBUCKET, Forge.BITBUCKET_DATA_CENTER, Forge.AZURE_DEVOPS)
Deliver = Callable[[str], uuid.UUID | None]


class Published(Opened):
    """A runner that has made its own pull request."""

    def __init__(self, work: Opened | Work, session_id: uuid.UUID) -> None:
        self.forge, self.repository, self.ada = work.forge, work.repository, work.ada
        self.first, self._runs = session_id, True

    @property
    def head_sha(self) -> str:
        return self.repository.branches()[str(self.runner.pr_branch)]

    @property
    def number(self) -> int:
        number = self.runner.pr_number
        assert number is not None
        return number

    def merge(self) -> None:
        self.forge.merge(self.repository.full_name, self.number)


class Day:
    """What was delivered so far, so that it can be delivered again."""

    def __init__(self) -> None:
        self.delivered: list[tuple[Deliver, uuid.UUID]] = []

    def thrice(self, deliver: Deliver) -> uuid.UUID:
        """Deliver something three times; the one record of it."""
        name = f"d{len(self.delivered)}"
        first, *more = (deliver(each) for each in (name, name, f"{name}b"))
        assert first is not None and set(more) <= {first}
        self.delivered.append((deliver, first))
        return first


def from_issue(forge: DemoForge, session_id: uuid.UUID, kind: Forge, day: Day) -> Talk:
    """Somebody labels an issue, which becomes a pull request."""
    desk = Desk(Opened(forge, session_id, kind), kind, runs=True, **AUTOMATIC)
    desk.label()
    asked = day.thrice(desk.deliver_label)
    desk.begin(asked)
    resolve(desk, asked)
    desk.work = Published(desk.work, desk.session(asked).id)
    desk.number = desk.work.number
    return desk


def from_prompt(forge: DemoForge, session_id: uuid.UUID, kind: Forge, day: Day) -> Talk:
    """Somebody asks for a pull request of what a prompt became, where the forge has no issues."""
    work = Work(forge, session_id, kind, runs=True)
    work.publish()
    # Azure DevOps does not say who may write.
    people = {"allowed_people": ["bob"]} if kind == Forge.AZURE_DEVOPS else {}
    return Talk(Published(work, session_id), kind, runs=True, **AUTOMATIC, **people)


@pytest.mark.parametrize("kind", usual(KINDS))
def test_a_day_ends_with_a_merge_and_each_thing_is_done_once(
    ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge, kind: Forge
) -> None:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    day = Day()
    session_id = ask("echo one > a.txt; echo Did one.")
    talk = (from_issue if kind in WITH_ISSUES else from_prompt)(forge, session_id, kind, day)
    work = talk.work
    assert isinstance(work, Published)

    checks.report(talk.repository, work.head_sha, "tests", "failure", is_status=kind == Forge.BITBUCKET_DATA_CENTER)
    red = found_by_polling() if kind == Forge.BITBUCKET_DATA_CENTER else day.thrice(talk.end_checks)
    assert talk.read(red) == ForgeDeliveryState.STARTED
    before = work.head_sha
    talk.work_on(red, "echo mended > mended.txt; echo Mended.")
    assert "Done in " in talk.finish(red) and work.head_sha != before
    checks.report(talk.repository, work.head_sha, "tests", "success", is_status=kind == Forge.BITBUCKET_DATA_CENTER)

    remark = discussions.comment(talk.repository, work.number, "bob", "@agent-runners Say it louder.")
    asked = day.thrice(lambda name: talk.deliver_comment(remark, name))
    assert talk.read(asked) == ForgeDeliveryState.STARTED
    before = work.head_sha
    talk.work_on(asked, "echo LOUD > loud.txt; echo Louder.")
    assert "Done in " in talk.finish(asked) and work.head_sha != before

    tip = talk.repository.commit("main", {"theirs.txt": "theirs\n"}, "Theirs")
    rebased = rebase(talk.session(asked).id)
    assert rebased.state == SessionState.DONE, rebased.failure
    work.publish()
    changed = talk.repository.git("diff", "--name-only", tip, work.head_sha).split()
    assert changed == ["a.txt", "loud.txt", "mended.txt"]

    before, said = work.head_sha, talk.answers()
    for deliver, record in reversed(day.delivered):
        again = deliver("again")
        assert again is None or talk.read(again) in (ForgeDeliveryState.DONE, ForgeDeliveryState.IGNORED)
        assert talk.state(record) == ForgeDeliveryState.DONE
    sweep()
    assert (work.head_sha, talk.answers()) == (before, said) and len(said) == 2

    work.merge()
    merged = day.thrice(lambda name: talk.receive("pull_request", numbered(work.number), name))
    assert talk.read(merged) == ForgeDeliveryState.DONE
    assert (work.runner.pr_state, work.runner.state) == (PullRequestState.MERGED, RunnerState.ARCHIVED)
    mine = [
        pull for pull in work.forge.pulls(talk.repository.full_name) if pull["head"]["ref"] == work.runner.pr_branch
    ]
    assert len(mine) == 1


def found_by_polling() -> uuid.UUID:
    """The delivery that is recorded where the forge delivers nothing of builds."""
    with db.transaction():
        db.session.execute(sa.update(AgentRunner).values(pr_check_due_at=db.now(-1)))
    check_pull_requests()
    with db.transaction(read_only=True):
        return db.session.scalars(sa.select(ForgeDelivery.id).order_by(ForgeDelivery.id.desc()).limit(1)).one()
