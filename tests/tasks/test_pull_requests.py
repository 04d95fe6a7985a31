"""Pull requests on a forge: made, changed by a second request, and looked at again until they are decided."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from app import db, queue
from app.demo.forge import checks
from app.models import AgentRunner, AgentRunnerSession, LastRun
from app.models.states import Forge, PullRequestState
from app.services.accounts import accounts
from app.services.publishing import pull_requests
from app.services.publishing.pull_requests import Check, CheckResults, PullRequestFacts, record_check
from app.services.runners import agent_runner_sessions, agent_runners
from app.services.sites import sites
from app.services.sites.site_secrets import git_credential_of
from app.services.sites.sites import SiteFields
from tasks.publications import check_pull_requests
from tasks.sessions import run_session
from tests.asking import new_runner
from tests.demo.forge import DemoForge
from tests.tasks.conftest import runner_of
from tests.tasks.pull_request import Opened, Work
from tests.tasks.test_forge_accounts import author_of, connect
from tests.tasks.test_publishing import ada_of
from tests.workers.forges.contract import recorded


@pytest.fixture
def work(ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge) -> Work:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    return Work(forge, ask("# Make one\necho one > a.txt; echo Did one."))


@pytest.fixture
def opened(ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge) -> Opened:
    """A pull request that nobody has looked at."""
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    return Opened(forge, ask("true"))


def test_a_second_request_changes_what_it_names(work: Work) -> None:
    work.publish(title="First", body="Because.", draft=True)
    assert (work.pull["title"], work.pull["body"], work.pull["draft"]) == ("First", "Because.", True)
    work.publish()
    assert (work.pull["title"], work.pull["body"], work.pull["draft"]) == ("First", "Because.", True)
    assert work.publish(title="Second", body="Well.", draft=False).pr_state == PullRequestState.OPEN
    assert (work.pull["title"], work.pull["body"], work.pull["draft"]) == ("Second", "Well.", False)
    assert work.publish(draft=True, body="").pr_state == PullRequestState.DRAFT
    assert (work.pull["title"], work.pull["body"], work.pull["draft"]) == ("Second", "", True)


@pytest.mark.parametrize(
    ("kind", "mark"),
    [
        (Forge.GITLAB, "Draft: "),
        (Forge.GITEA, "WIP: "),
        (Forge.BITBUCKET, ""),
        (Forge.BITBUCKET_DATA_CENTER, ""),
        (Forge.AZURE_DEVOPS, ""),
    ],
)
def test_other_forges_have_pull_requests_too_which_are_of_who_asks(
    ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge, kind: Forge, mark: str
) -> None:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    work = Work(forge, ask("# Make one\necho one > a.txt; echo Did one."), kind)
    assert connect(work, kind, "ada") is None
    runner, pull = work.publish(title="First", draft=True), work.pull
    assert (runner.pr_state, runner.pr_warnings) == (PullRequestState.DRAFT, None)
    assert pull["title"] == f"{mark}First" and "Did one." in pull["body"] and "Look closely" not in pull["body"]
    assert pull["user"]["login"] == "ada"
    name, email = author_of(work)
    assert name.lower() == "ada" and email != "ada@example.org" and "ada" in email
    ci = "mkdir -p .forgejo/workflows; touch CODEOWNERS .forgejo/workflows/ci.yml"
    work.follow_up(f"# Make two\necho two > a.txt; {ci}; echo Did two.")
    assert work.publish(draft=False).pr_state == PullRequestState.OPEN
    pull = work.pull
    assert pull["title"] == "First" and "Did two." in pull["body"]
    assert "**Look closely:** this changes CI workflows, CODEOWNERS." in pull["body"]
    assert pull["head"]["sha"] == work.repository.branches()[work.runner.pr_branch]


def test_a_rebase_moves_the_branch_of_the_pull_request_onto_the_tip(work: Work) -> None:
    work.publish()
    work.follow_up("# Make two\necho two > a.txt; echo Did two.")
    tip = work.repository.commit("main", {"b.txt": "theirs\n"}, "Theirs", work.repository.branches()["main"])
    with db.transaction():
        made = agent_runner_sessions.rebase(work.ada, work.runner.id)
    run_session(str(made.id))
    assert work.publish().pr_number == 1 and work.pull["base"]["sha"] == work.runner.base_sha == tip
    assert work.repository.commits(tip, work.pull["head"]["sha"]) == 1
    assert "Did one." in work.pull["body"] and "Did two." in work.pull["body"]


def test_git_gets_the_user_name_that_the_forge_takes(ask: Callable[..., uuid.UUID]) -> None:
    runner = runner_of(ask("true"))
    for kind, token, credential in (
        (Forge.GITHUB, "t", "x-access-token:t"),
        (Forge.GITLAB, "t", "oauth2:t"),
        (Forge.BITBUCKET, "t", "x-token-auth:t"),
        (Forge.BITBUCKET, "ada@example.org:t", "x-bitbucket-api-token-auth:t"),
        (Forge.BITBUCKET, "ada:t", "ada:t"),
        (Forge.BITBUCKET_DATA_CENTER, "t", "Bearer t"),
        (Forge.BITBUCKET_DATA_CENTER, "ada:t", "ada:t"),
        (Forge.NONE, "ada@example.org:t", "ada@example.org:t"),
    ):
        with db.transaction():
            there = SiteFields(repo_url="https://git.example.org/ada/app.git", forge=kind, access_token=token)
            site = sites.update(ada_of(runner.latest_session_id), runner.site_id, there)
            assert git_credential_of(site) == credential, (kind, token)


def test_what_people_change_on_the_forge_stays(work: Work) -> None:
    work.publish(draft=True)
    work.edit(title="By a person", body=f"Before.\r\n\r\n{work.pull['body']}\r\n\r\nAfter.")
    work.forge.http.post(
        f"{work.forge.url}/api/graphql",
        json={
            "query": "mutation M { markPullRequestReadyForReview(input: $input) { pullRequest { isDraft } } }",
            "variables": {"input": {"pullRequestId": work.pull["node_id"]}},
        },
    ).raise_for_status()
    work.follow_up("# Make two\necho two > a.txt; echo Did two.")
    assert work.publish().pr_state == PullRequestState.OPEN
    body = work.pull["body"]
    assert (work.pull["title"], work.pull["draft"]) == ("By a person", False)
    assert body.startswith("Before.") and body.endswith("After.")
    said = ("> # Make one", "Did one.", "> # Make two", "Did two.")
    places = [body.index(words) for words in said]
    assert places == sorted(places) and body.count("Did one.") == 2  # The prompt, and what the agent said.
    unmarked = body.replace("<!-- agent-runners", "<!--")
    work.edit(body=unmarked)
    work.follow_up("echo three > a.txt")
    work.publish()
    assert work.pull["body"] == unmarked


def test_a_push_that_is_not_permitted_says_what_is_missing(work: Work) -> None:
    for token in (DemoForge.read_only_token, None):
        with db.transaction():
            sites.update(work.ada, work.runner.site_id, SiteFields(access_token=token))
        error = work.request({}).pr_error
        assert "access" in error and "Contents: read and write" in error
        assert ("may not write" in error) == (token is not None)


def test_a_merge_or_a_close_on_the_forge_shows(opened: Opened) -> None:
    check_pull_requests()
    before = opened.runner
    assert before.pr_checked_at is not None, "one that an earlier release made is looked at too"
    check_pull_requests()
    assert opened.runner.pr_checked_at == before.pr_checked_at, "it was looked at just now"
    opened.wait()
    check_pull_requests()
    looked = opened.runner
    assert looked.pr_state == PullRequestState.OPEN and looked.pr_checked_at > before.pr_checked_at
    assert looked.updated_at == before.updated_at, "nothing about it has changed"
    opened.merge()
    opened.wait()
    check_pull_requests()
    merged = opened.runner
    assert merged.pr_state == PullRequestState.MERGED and merged.updated_at > before.updated_at
    opened.wait()
    check_pull_requests()
    assert opened.runner.pr_checked_at == merged.pr_checked_at, "it is decided"


def test_an_unavailable_forge_is_asked_once_for_all_pull_requests_of_a_site(opened: Opened) -> None:
    with recorded(opened.forge.url) as between:
        with db.transaction():
            there = SiteFields(forge_api_url=f"{between.url}/api/v3", access_token=opened.forge.token)
            sites.update(opened.ada, opened.runner.site_id, there)
            new_runner(opened.ada, opened.runner.site_id, agent="shell")
            # The other one is said to have the same.
            known = {"pr_number": 1, "pr_state": PullRequestState.OPEN}
            db.session.execute(sa.update(AgentRunner).values(known))
        opened.forge.down(3600)
        try:
            opened.wait()
            check_pull_requests()
        finally:
            opened.forge.down(0)
        assert [each.status for each in between.exchanges] == [503]
        assert (opened.runner.pr_state, opened.runner.pr_checked_at) == (PullRequestState.OPEN, None)
        with db.transaction(read_only=True):
            due = db.session.scalars(sa.select(AgentRunner.id).where(AgentRunner.pr_check_due_at <= db.now())).all()
        assert len(due) == 1, "the one that was asked for waits, the other has its turn in the next run"
        check_pull_requests()
        assert 200 in [each.status for each in between.exchanges]


def test_an_account_whose_forges_are_slow_leaves_the_rest_of_a_run_to_others(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever its first look takes is too much.
    monkeypatch.setattr(pull_requests, "ACCOUNT_SECONDS", -1.0)
    with db.transaction():
        more = [new_runner(opened.ada, opened.runner.site_id, agent="shell").id for _ in range(2)]
        other, _ = accounts.create("Grace's team", "grace@example.org", "Grace")
    runners = [opened.runner.id, *more]
    with db.transaction():
        # They are said to have the same.
        db.session.execute(sa.update(AgentRunner).values(pr_number=1, pr_state=PullRequestState.OPEN))
        of_other = sa.update(AgentRunner).where(AgentRunner.id == runners[2])
        db.session.execute(of_other.values(account_id=other.account_id))
        for seconds, runner_id in enumerate(reversed(runners), 1):
            due = sa.update(AgentRunner).where(AgentRunner.id == runner_id)
            db.session.execute(due.values(pr_check_due_at=db.now(-seconds)))

    def looked() -> list[bool]:
        with db.transaction(read_only=True):
            return [db.session.get_one(AgentRunner, each).pr_checked_at is not None for each in runners]

    check_pull_requests()
    assert looked() == [True, False, True]
    check_pull_requests()
    assert looked() == [True, True, True], "it has its turn in the next run"


def test_the_sweep_asks_for_a_look_once_where_one_is_due(opened: Opened, configure: Callable[..., None]) -> None:
    configure(BROKER_URL="memory://")
    check_pull_requests()
    with queue.celery().connection_for_read() as connection, connection.SimpleQueue(queue.CONTROL) as messages:

        def enqueued() -> int:
            before = messages.qsize()
            with db.transaction():
                pull_requests.request_checks()
            queue.flush()
            return int(messages.qsize() - before)

        assert enqueued() == 0
        opened.wait()
        assert (enqueued(), enqueued()) == (1, 0)
        with db.transaction():
            db.session.execute(sa.update(AgentRunner).values(pr_check_due_at=None))
            db.session.execute(sa.delete(LastRun))
        assert enqueued() == 1, "one that an earlier release made is looked at too"


def test_a_pull_request_gets_what_its_site_says_and_what_the_forge_does_not_know_is_named(work: Work) -> None:
    def statuses() -> list[dict[str, Any]]:
        path = f"/repos/{work.repository.full_name}/commits/{work.head_sha}/status"
        return list(work.forge.http.get(path).json()["statuses"])

    texts = {
        "pr_title_template": "[agent] {{ title }}",
        "pr_body_template": "Hello.\n\n{{ sessions }}\n\nBy {{ user }}",
    }
    with db.transaction():
        people = SiteFields(pr_labels=["agent", "agnet"], pr_reviewers=["ada"], **texts)
        sites.update(work.ada, work.runner.site_id, people)
    runner, pull = work.publish(reviewers=[], assignees=["grace"]), work.pull
    body = pull["body"]
    assert pull["title"] == f"[agent] {runner.title}"
    assert body.startswith("Hello.\n\n<!--") and "> echo one" in body and body.endswith("-->\n\nBy Ada")
    assert runner.pr_warnings == ["The label agnet was not added: the forge does not have it, or refuses it."]
    assert [each["name"] for each in pull["labels"]] == ["agent"]
    assert pull["requested_reviewers"] == [] and pull["assignees"][0]["login"] == "grace"
    assert statuses() == [], "it is off by default"

    with db.transaction():
        sites.update(work.ada, work.runner.site_id, SiteFields(pr_status=True))
    work.follow_up("echo two > a.txt")
    runner, pull = work.publish(reviewers=["ada"]), work.pull
    assert pull["body"].startswith("Hello.") and "> echo two" in pull["body"] and "By Ada" in pull["body"]
    assert runner.pr_warnings is None, "the site's are for new pull requests"
    assert pull["requested_reviewers"][0]["login"] == "ada"
    [status] = statuses()
    page = f"http://testserver/runners/{runner.id}/sessions/{runner.latest_session_id}"
    assert (status["context"], status["state"], status["target_url"]) == ("agent-runners", "success", page)
    assert status["description"] == "Made by shell"
    work.wait()
    check_pull_requests()
    assert work.runner.pr_check_results is None, "a status of ours says nothing about the change"

    work.follow_up("echo three > a.txt")
    with db.transaction():
        session = db.session.get_one(AgentRunnerSession, work.runner.latest_session_id)
        session.taken_over_by = {"agent": "scripted", "model": None}
    work.publish()
    assert statuses()[0]["description"] == "Made by shell, then scripted"


def test_ever_rarer_looks_show_the_checks_of_the_newest_commit_until_the_pull_request_is_decided(
    opened: Opened,
) -> None:
    waits: list[float] = []

    def look() -> dict[str, Any] | None:
        opened.wait()
        check_pull_requests()
        runner = opened.runner
        waits.append((runner.pr_check_due_at - runner.pr_checked_at).total_seconds())
        return runner.pr_check_results

    def report(name: str, state: str, **more: Any) -> None:
        checks.report(opened.repository, opened.head_sha, name, state, **more)

    assert look() is None, "there are none"
    report("slow", "")
    report("tests", "success")
    pending = look()
    assert pending == {"state": "pending", "passed": 1, "failed": 0, "pending": 1, "failures": []}
    report("lint\n", "failure", is_status=True, url="https://ci.example.com/1")
    report("docs", "error", is_status=True)
    failing = look()
    assert failing is not None and (failing["state"], failing["failed"]) == ("failing", 2)
    assert failing["failures"] == [
        {"name": "lint", "url": "https://ci.example.com/1"},
        {"name": "docs", "url": None},
    ]
    assert [round(each, -1) for each in waits] == [120, 240, 480]

    with db.transaction():
        db.session.execute(sa.update(AgentRunner).values(pr_checks=5_000))
    before = opened.runner
    look()
    assert (opened.runner.updated_at, opened.runner.last_event_seq) == (before.updated_at, before.last_event_seq)
    assert round(waits[-1], -2) == pull_requests.LONGEST_WAIT_SECONDS

    opened.follow_up("echo two > a.txt")
    published = opened.publish()
    assert published.pr_check_results is None, "those were of another commit"
    check_pull_requests()
    assert opened.runner.pr_checked_at == published.pr_checked_at, "it was looked at just now"
    report("tests", "success")
    passing = look()
    assert passing is not None and passing["state"] == "passing" and round(waits[-1], -1) == 120
    opened.merge()
    assert look() is None


def test_a_token_that_may_not_read_checks_still_shows_the_state(opened: Opened) -> None:
    checks.report(opened.repository, opened.head_sha, "tests", "failure")
    opened.forge.set_faults(no_checks=True)
    try:
        check_pull_requests()
    finally:
        opened.forge.set_faults(no_checks=False)
    assert opened.runner.pr_checked_at is not None and opened.runner.pr_check_results is None
    opened.wait()
    check_pull_requests()
    found = opened.runner.pr_check_results
    assert found is not None and found["failed"] == 1


def test_checks_of_an_archived_runner_are_recorded_and_not_announced(opened: Opened) -> None:
    with db.transaction():
        agent_runners.archive(opened.ada, opened.runner.id)
    before = opened.runner
    results = CheckResults(passed=1, failed=0, pending=0, failures=())
    with db.transaction():
        check = Check(before.id, before.site, before.pr_number, before.pr_checks, False, None, None, None)
        record_check(check, PullRequestFacts(1, before.pr_url or "", PullRequestState.OPEN, results))
    after = opened.runner
    assert after.pr_check_results is not None and after.pr_check_results["passed"] == 1
    assert after.last_event_seq == before.last_event_seq, "to receivers of webhooks it would be archived again"
