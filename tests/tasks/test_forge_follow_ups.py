"""Comments and reviews that ask for something become follow-ups, whose work goes to the same pull request."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from app import db
from app.demo.forge import discussions
from app.demo.forge.bitbucket import person
from app.models import ForgeDelivery, Publication
from app.models.states import Forge, ForgeDeliveryState, PullRequestState, RunnerState
from app.services.forge_webhooks import deliveries, follow_ups
from app.services.runners import agent_runner_sessions, agent_runners, head
from tasks.jobs.host import this_host
from tasks.publications import publish
from tests.demo.forge import DemoForge
from tests.tasks.pull_request import Opened
from tests.tasks.talk import Talk, record_of, sweep
from workers.forges.registry import make_discussions

PLACE = {"path": "feature.py", "line": 1, "diff_hunk": "@@ -0,0 +1 @@\n+one"}


@pytest.fixture
def work(ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge) -> Opened:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    return Opened(forge, ask("true"))


@pytest.fixture
def talk(work: Opened) -> Talk:
    return Talk(work)


def test_a_review_becomes_one_follow_up_whose_commit_and_answer_are_on_the_same_pull_request(talk: Talk) -> None:
    before = talk.work.head_sha
    remark, other = ({"body": text, **PLACE} for text in ("Write two.", "@agent-runners and say so."))
    delivered = talk.deliver_review(discussions.review(talk.repository, 1, "bob", "", remark, other))
    assert delivered[0] is None, "it mentions nobody"
    review = delivered[1]
    again = talk.deliver_review(discussions.entries(talk.repository, 1)[0])
    assert talk.read(review) == ForgeDeliveryState.STARTED and again[1] == review
    prompt = talk.session(review).prompt
    assert prompt.count("> +one") == 2 and "> Write two." in prompt and "> @agent-runners and say so." in prompt
    assert "At feature.py, line 1:" in prompt and talk.work.runner.last_session_created_at is not None
    talk.work_on(review)
    answer = talk.finish(review)
    sha = talk.work.head_sha
    assert sha != before and f"@bob Done in {sha}." in answer and "Did two." in answer
    assert "\nCo-authored-by: bob <bob@users.noreply." in talk.repository.git("log", "-1", "--format=%B", sha)
    assert len(talk.work.forge.pulls(talk.repository.full_name)) == 1
    # Everything once more, in another order.
    for delivery_id in (review, *talk.deliver_review(discussions.entries(talk.repository, 1)[0])):
        if delivery_id:
            assert talk.read(delivery_id) == ForgeDeliveryState.DONE
    sweep()
    assert len(talk.answers()) == 1 and talk.work.head_sha == sha


def test_our_own_answers_and_those_of_others_start_nothing(talk: Talk) -> None:
    discussions.permit(talk.repository, "helper[bot]", "write")
    discussions.permit(talk.repository, "cleo", "read")
    own = "@agent-runners\n\n<!-- agent-runners: 1 -->"
    ignored = [
        (talk.comment("@agent-runners go on", "cleo"), "cleo may not write to the repository."),
        (talk.comment("@agent-runners go on", "stranger"), "stranger may not write to the repository."),
        (talk.comment("@agent-runners go on", "helper[bot]"), "It was not written by a person."),
        (talk.comment(own), "It was not written by a person."),
    ]
    for delivery_id, reason in ignored:
        assert delivery_id and talk.read(delivery_id) == ForgeDeliveryState.IGNORED
        assert record_of(delivery_id).error == reason and record_of(delivery_id).session_id is None
    assert talk.comment("Well done.") is talk.comment("> @agent-runners go on") is None
    entry = discussions.comment(talk.repository, 1, "bob", "@agent-runners go on")
    assert talk.deliver_comment(entry, action="deleted") is None
    assert talk.answers() == []
    entry = discussions.comment(talk.repository, 1, "bob", "@agent-runners remove everything")
    delivery_id = talk.deliver_comment(entry)
    discussions.edit(talk.repository, entry.id, "Never mind.")
    assert talk.read(delivery_id) == ForgeDeliveryState.IGNORED, "it does not ask any more"


def test_a_comment_that_is_replayed_after_months_starts_nothing(talk: Talk) -> None:
    entry = discussions.comment(talk.repository, 1, "bob", "@agent-runners go on")
    delivery_id = talk.deliver_comment(entry)
    assert talk.read(delivery_id) == ForgeDeliveryState.STARTED
    ignored = talk.comment("@agent-runners go on", "stranger")
    assert talk.read(ignored) == ForgeDeliveryState.IGNORED
    with db.transaction():
        ended = {"state": ForgeDeliveryState.DONE, "created_at": db.now(-4 * deliveries.KEPT_SECONDS)}
        db.session.execute(sa.update(ForgeDelivery).where(ForgeDelivery.id == delivery_id).values(ended))
        del ended["state"]
        db.session.execute(sa.update(ForgeDelivery).where(ForgeDelivery.id == ignored).values(ended))
        deliveries.forget_old()
    assert talk.deliver_comment(entry, "another-id") == delivery_id
    with db.transaction(read_only=True):
        assert list(db.session.scalars(sa.select(ForgeDelivery.id))) == [delivery_id], (
            "what nobody acted on is forgotten"
        )


def test_requests_wait_for_the_runner_and_come_in_their_order(talk: Talk) -> None:
    first, second, third = (talk.comment(f"@agent-runners {text}") for text in ("b", "c", "d"))
    states = [talk.read(each) for each in (first, second, third)]
    assert states == [ForgeDeliveryState.STARTED, ForgeDeliveryState.WAITING, ForgeDeliveryState.WAITING]
    with db.transaction(read_only=True):
        assert follow_ups.find_ready(10) == [], "they hold up no others"
    talk.work_on(first)
    sweep()
    # Its work is published before the next session begins.
    assert first is not None
    publication = record_of(first).publication_id
    assert publication is not None and talk.state(second) == ForgeDeliveryState.WAITING
    with db.transaction(read_only=True):
        assert db.session.get_one(Publication, publication).session_id == talk.session(first).id
    publish(str(publication))
    sweep()
    sweep()
    assert talk.read(first) == ForgeDeliveryState.DONE
    assert (talk.state(second), talk.state(third)) == (ForgeDeliveryState.STARTED, ForgeDeliveryState.WAITING)


def test_a_session_that_changes_nothing_fails_or_is_stopped_is_answered(work: Opened) -> None:
    talk = Talk(work, runs=True)
    for script, words in (
        ("echo 'I saw @agent-runners #1'", "I changed nothing.\n\nI saw"),
        ("exit 3", "The session failed:"),
    ):
        asked = talk.comment("@agent-runners go on")
        assert talk.read(asked) == ForgeDeliveryState.STARTED
        talk.work_on(asked, script)
        assert f"@bob {words}" in talk.finish(asked)
    asked = talk.comment("@agent-runners go on")
    talk.read(asked)
    with db.transaction():
        agent_runner_sessions.stop_active(talk.work.ada, talk.work.runner.id)
    assert "The session was stopped" in talk.finish(asked)
    asked = talk.comment("@agent-runners go on")
    talk.read(asked)
    talk.work_on(asked)
    with db.transaction():
        head.revert(talk.work.ada, talk.work.runner.id, None)
    assert "The work was discarded" in talk.finish(asked)
    assert len(talk.answers()) == 4
    said = talk.answers()[0]
    assert "I saw" in said and "@agent-runners" not in said and "#1" not in said, "an agent mentions nobody"


def test_a_persons_commit_on_the_branch_is_not_built_on(talk: Talk) -> None:
    branch = talk.work.runner.pr_branch
    assert branch is not None
    theirs = talk.repository.commit(branch, {"b.txt": "theirs\n"}, "Theirs")
    asked = talk.comment("@agent-runners go on")
    talk.read(asked)
    assert "commits that I did not make" in talk.finish(asked)
    assert talk.repository.branches()[branch] == theirs


def test_a_commit_that_comes_meanwhile_is_kept_and_said(talk: Talk) -> None:
    asked = talk.comment("@agent-runners go on")
    talk.read(asked)
    branch = talk.work.runner.pr_branch
    assert branch is not None
    theirs = talk.repository.commit(branch, {"b.txt": "theirs\n"}, "Theirs")
    talk.work_on(asked)
    assert "The work could not be pushed:" in talk.finish(asked)
    assert talk.repository.branches()[branch] == theirs


def test_a_closed_pull_request_and_an_archived_runner_take_no_requests(talk: Talk) -> None:
    archived = talk.comment("@agent-runners go on")
    with db.transaction():
        agent_runners.archive(talk.work.ada, talk.work.runner.id)
    assert talk.read(archived) == ForgeDeliveryState.FAILED
    with db.transaction():
        agent_runners.unarchive(talk.work.ada, talk.work.runner.id)
    talk.work.edit(state="closed")
    closed = talk.comment("@agent-runners go on")
    assert talk.read(closed) == ForgeDeliveryState.IGNORED
    assert talk.work.runner.pr_state == "closed", "what was read is recorded"


def test_an_answer_whose_worker_was_lost_is_not_written_twice(talk: Talk) -> None:
    asked = talk.comment("@agent-runners go on")
    assert asked is not None
    talk.read(asked)
    talk.work_on(asked, "true")
    sweep()
    with db.transaction():
        lost = deliveries.claim(asked)
    assert lost is not None and lost.delivery.answer is not None and lost.check is None
    url, text = talk.work.runner.site.repo_url, lost.delivery.answer
    make_discussions("github", url, None, DemoForge.token, this_host()).write_comment(1, str(asked), text)
    with db.transaction():
        db.session.execute(sa.update(ForgeDelivery).values(lease_expires_at=db.now(-1)))
    with db.transaction():
        deliveries.repair(asked)
    assert talk.read(asked) == ForgeDeliveryState.DONE and len(talk.answers()) == 1


@pytest.mark.parametrize("kind", [Forge.GITLAB, Forge.GITEA, Forge.BITBUCKET, Forge.BITBUCKET_DATA_CENTER])
def test_on_other_forges_a_comment_becomes_one_follow_up_and_a_merge_shows_as_well(
    ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge, kind: Forge
) -> None:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    talk = Talk(Opened(forge, ask("true"), kind), kind)
    discussions.permit(talk.repository, "cleo", "read")
    ignored = talk.comment("@agent-runners go on", "cleo")
    assert talk.read(ignored) == ForgeDeliveryState.IGNORED
    cleo, bob = (f"{{{person(name)['account_id']}}}" if kind == Forge.BITBUCKET else name for name in ("cleo", "bob"))
    assert record_of(ignored or uuid.uuid4()).error == f"{cleo} may not write to the repository."
    entry = discussions.comment(talk.repository, 1, "bob", "@agent-runners write two")
    asked, *more = [talk.deliver_comment(entry, each) for each in ("n1", "n1", "n2")]
    assert more == [asked, asked] and talk.deliver_comment(entry, "n3", "edited") in (None, asked)
    assert talk.read(asked) == ForgeDeliveryState.STARTED
    assert "> @agent-runners write two" in talk.session(asked).prompt
    with db.transaction():
        agent_runner_sessions.stop_active(talk.work.ada, talk.work.runner.id)
    answer = talk.finish(asked)
    assert f"@{bob} The session was stopped" in answer
    assert talk.read(talk.deliver_comment(entry, "n4")) == ForgeDeliveryState.DONE and talk.answers() == [answer]
    assert talk.follow(talk.deliver()) == PullRequestState.OPEN
    talk.work.merge()
    assert talk.follow(talk.deliver()) == PullRequestState.MERGED
    assert talk.work.runner.state == RunnerState.DONE
