"""Pull requests on a forge: made, changed by a second request, and looked at again until they are decided."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from app import db, queue
from app.demo.forge import checks
from app.models import AgentRunner, AgentRunnerSession, LastRun, Publication
from app.models.states import Forge, PullRequestState
from app.services.accounts import accounts
from app.services.publishing import publications, pull_requests
from app.services.publishing.pull_requests import Check, CheckResults, PullRequestFacts, record_check
from app.services.runners import agent_runner_sessions, agent_runners
from app.services.sites import sites
from app.services.sites.site_secrets import git_credential_of
from app.services.sites.sites import SiteFields
from tasks.publications import check_pull_requests, publish
from tasks.sessions import run_session
from tests.asking import new_runner, new_session
from tests.demo.forge import DemoForge, Repository
from tests.tasks.conftest import read, runner_of
from tests.tasks.recorded import end_session
from tests.tasks.test_publishing import ada_of
from tests.workers.forges.contract import recorded


class Work:
    """A runner on a repository of the forge, whose first session is done. Its sessions are recorded, unless it `runs` them."""

    def __init__(
        self,
        forge: DemoForge,
        session_id: uuid.UUID,
        kind: Forge = Forge.GITHUB,
        object_format: str = "sha1",
        *,
        runs: bool = False,
    ) -> None:
        self.forge, self.first, self._runs = forge, session_id, runs
        files: dict[str, str | bytes] = {"a.txt": "a\n"}
        name = f"r{session_id.hex}"
        self.repository: Repository = forge.make_repository("ada", name, files, object_format=object_format)
        self.ada = ada_of(session_id)
        address = forge.repo_url(kind, self.repository.full_name)
        there = SiteFields(repo_url=address, forge=kind, access_token=forge.token)
        with db.transaction():
            sites.update(self.ada, self.runner.site_id, there)
        end_session(session_id, self.repository.folder, runs=runs)

    @property
    def runner(self) -> AgentRunner:
        return runner_of(self.first)

    @property
    def pull(self) -> dict[str, Any]:
        [pull] = self.forge.pulls(self.repository.full_name)
        return pull

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

    def wait(self) -> None:
        """Let the time pass until the pull request is to be looked at."""
        with db.transaction():
            passed = {"pr_check_due_at": db.now(-1), "updated_at": AgentRunner.updated_at}
            db.session.execute(sa.update(AgentRunner).values(passed))


@pytest.fixture
def work(ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge) -> Work:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    return Work(forge, ask("# Make one\necho one > a.txt; echo Did one."))


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
def test_other_forges_have_pull_requests_too(
    ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge, kind: Forge, mark: str
) -> None:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    work = Work(forge, ask("# Make one\necho one > a.txt; echo Did one."), kind)
    assert work.publish(title="First", draft=True).pr_state == PullRequestState.DRAFT
    assert work.pull["title"] == f"{mark}First" and "Did one." in work.pull["body"]
    assert "Look closely" not in work.pull["body"]
    ci = "mkdir -p .forgejo/workflows; touch CODEOWNERS .forgejo/workflows/ci.yml"
    work.follow_up(f"# Make two\necho two > a.txt; {ci}; echo Did two.")
    assert work.publish(draft=False).pr_state == PullRequestState.OPEN
    assert work.pull["title"] == "First" and "Did two." in work.pull["body"]
    assert "**Look closely:** this changes CI workflows, CODEOWNERS." in work.pull["body"]
    assert work.pull["head"]["sha"] == work.repository.branches()[work.runner.pr_branch]


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


@pytest.mark.parametrize("token", [DemoForge.read_only_token, None])
def test_a_push_that_is_not_permitted_says_what_is_missing(work: Work, token: str | None) -> None:
    with db.transaction():
        sites.update(work.ada, work.runner.site_id, SiteFields(access_token=token))
    error = work.request({}).pr_error
    assert "access" in error and "Contents: read and write" in error
    assert ("may not write" in error) == (token is not None)


def test_a_merge_or_a_close_on_the_forge_shows(work: Work) -> None:
    before = work.publish()
    assert before.pr_checked_at is not None
    check_pull_requests()
    assert work.runner.pr_checked_at == before.pr_checked_at, "it was looked at just now"
    work.wait()
    check_pull_requests()
    looked = work.runner
    assert looked.pr_state == PullRequestState.OPEN and looked.pr_checked_at > before.pr_checked_at
    assert looked.updated_at == before.updated_at, "nothing about it has changed"
    work.forge.merge(work.repository.full_name, 1)
    work.wait()
    check_pull_requests()
    merged = work.runner
    assert merged.pr_state == PullRequestState.MERGED and merged.updated_at > before.updated_at
    work.wait()
    check_pull_requests()
    assert work.runner.pr_checked_at == merged.pr_checked_at, "it is decided"


def test_checks_become_rarer_until_the_next_publication(work: Work) -> None:
    work.publish()

    def wait_after_look() -> float:
        work.wait()
        check_pull_requests()
        return (work.runner.pr_check_due_at - work.runner.pr_checked_at).total_seconds()

    waits = [round(wait_after_look(), -1) for _ in range(3)]
    assert waits == [120, 240, 480]
    with db.transaction():
        db.session.execute(sa.update(AgentRunner).values(pr_checks=5_000))
    assert round(wait_after_look(), -2) == pull_requests.LONGEST_WAIT_SECONDS
    work.publish()
    assert round(wait_after_look(), -1) == 120


def test_an_unavailable_forge_is_asked_once_for_all_pull_requests_of_a_site(work: Work) -> None:
    before = work.publish()
    with recorded(work.forge.url) as between:
        with db.transaction():
            there = SiteFields(forge_api_url=f"{between.url}/api/v3", access_token=work.forge.token)
            sites.update(work.ada, work.runner.site_id, there)
            new_runner(work.ada, work.runner.site_id, agent="shell")
            # The other one is said to have the same.
            known = {"pr_number": 1, "pr_state": PullRequestState.OPEN}
            db.session.execute(sa.update(AgentRunner).values(known))
        work.forge.down(3600)
        try:
            work.wait()
            check_pull_requests()
        finally:
            work.forge.down(0)
        assert [each.status for each in between.exchanges] == [503]
        assert (work.runner.pr_state, work.runner.pr_checked_at) == (PullRequestState.OPEN, before.pr_checked_at)
        with db.transaction(read_only=True):
            due = db.session.scalars(sa.select(AgentRunner.id).where(AgentRunner.pr_check_due_at <= db.now())).all()
        assert len(due) == 1, "the one that was asked for waits, the other has its turn in the next run"
        check_pull_requests()
        assert 200 in [each.status for each in between.exchanges]


def test_an_account_whose_forges_are_slow_leaves_the_rest_of_a_run_to_others(
    ask: Callable[..., uuid.UUID], work: Work, forge: DemoForge, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever its first look takes is too much.
    monkeypatch.setattr(pull_requests, "ACCOUNT_SECONDS", -1.0)
    works, before = [work], [work.publish().pr_checked_at]
    for _ in range(2):
        works.append(Work(forge, ask("echo one > a.txt")))
        before.append(works[-1].publish().pr_checked_at)
    with db.transaction():
        other, _ = accounts.create("Grace's team", "grace@example.org", "Grace")
        last = works[2].runner
        db.session.execute(sa.update(AgentRunner).where(AgentRunner.id == last.id).values(account_id=other.account_id))
    for seconds, each in enumerate(reversed(works), 1):
        with db.transaction():
            due = sa.update(AgentRunner).where(AgentRunner.id == each.runner.id)
            db.session.execute(due.values(pr_check_due_at=db.now(-seconds)))
    check_pull_requests()
    looked = [each.runner.pr_checked_at > at for each, at in zip(works, before, strict=True)]
    assert looked == [True, False, True]
    check_pull_requests()
    assert works[1].runner.pr_checked_at > before[1], "it has its turn in the next run"


def test_the_sweep_asks_for_a_look_once_where_one_is_due(work: Work, configure: Callable[..., None]) -> None:
    configure(BROKER_URL="memory://")
    work.publish()
    with queue.celery().connection_for_read() as connection, connection.SimpleQueue(queue.CONTROL) as messages:

        def enqueued() -> int:
            before = messages.qsize()
            with db.transaction():
                pull_requests.request_checks()
            queue.flush()
            return int(messages.qsize() - before)

        assert enqueued() == 0
        work.wait()
        assert (enqueued(), enqueued()) == (1, 0)
        with db.transaction():
            db.session.execute(sa.update(AgentRunner).values(pr_check_due_at=None))
            db.session.execute(sa.delete(LastRun))
        assert enqueued() == 1, "one that an earlier release made is looked at too"


def test_what_the_forge_does_not_know_is_named_and_the_pull_request_is_there(
    ask: Callable[..., uuid.UUID], configure: Callable[..., None], forge: DemoForge
) -> None:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    work = Work(forge, ask("echo one > a.txt"))
    texts = {
        "pr_title_template": "[agent] {{ title }}",
        "pr_body_template": "Hello.\n\n{{ sessions }}\n\nBy {{ user }}",
    }
    with db.transaction():
        people = SiteFields(pr_labels=["agent", "agnet"], pr_reviewers=["ada"], **texts)
        sites.update(work.ada, work.runner.site_id, people)
    runner = work.publish(reviewers=[], assignees=["grace"])
    body = work.pull["body"]
    assert work.pull["title"] == f"[agent] {runner.title}"
    assert body.startswith("Hello.\n\n<!--") and "> echo one" in body and body.endswith("-->\n\nBy Ada")
    assert runner.pr_warnings == ["The label agnet was not added: the forge does not have it, or refuses it."]
    assert [each["name"] for each in work.pull["labels"]] == ["agent"]
    assert work.pull["requested_reviewers"] == [] and work.pull["assignees"][0]["login"] == "grace"
    work.follow_up("echo two > a.txt")
    runner = work.publish(reviewers=["ada"])
    assert (
        work.pull["body"].startswith("Hello.") and "> echo two" in work.pull["body"] and "By Ada" in work.pull["body"]
    )
    assert runner.pr_warnings is None, "the site's are for new pull requests"
    assert work.pull["requested_reviewers"][0]["login"] == "ada"


def test_what_is_pushed_has_a_status_that_links_to_its_session_and_is_no_check(work: Work) -> None:
    def statuses() -> list[dict[str, Any]]:
        path = f"/repos/{work.repository.full_name}/commits/{work.pull['head']['sha']}/status"
        return list(work.forge.http.get(path).json()["statuses"])

    work.publish()
    assert statuses() == [], "it is off by default"
    with db.transaction():
        sites.update(work.ada, work.runner.site_id, SiteFields(pr_status=True))
    work.follow_up("echo two > a.txt")
    runner = work.publish()
    [status] = statuses()
    page = f"http://testserver/runners/{runner.id}/sessions/{runner.latest_session_id}"
    assert (status["context"], status["state"], status["target_url"]) == ("agent-runners", "success", page)
    assert status["description"] == "Made by shell" and runner.pr_warnings is None
    work.wait()
    check_pull_requests()
    assert work.runner.pr_check_results is None, "it says nothing about the change"
    work.follow_up("echo three > a.txt")
    with db.transaction():
        session = db.session.get(AgentRunnerSession, work.runner.latest_session_id)
        session.taken_over_by = {"agent": "scripted", "model": None}
    work.publish()
    assert statuses()[0]["description"] == "Made by shell, then scripted"


def test_the_checks_of_the_newest_commit_show_until_the_pull_request_is_decided(work: Work) -> None:
    def look() -> dict[str, Any] | None:
        work.wait()
        check_pull_requests()
        return work.runner.pr_check_results

    def report(name: str, state: str, **more: Any) -> None:
        checks.report(work.repository, work.pull["head"]["sha"], name, state, **more)

    work.publish()
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
    before = work.runner
    look()
    assert (work.runner.updated_at, work.runner.last_event_seq) == (before.updated_at, before.last_event_seq)
    work.follow_up("echo two > a.txt")
    assert work.publish().pr_check_results is None, "those were of another commit"
    report("tests", "success")
    passing = look()
    assert passing is not None and passing["state"] == "passing"
    work.forge.merge(work.repository.full_name, 1)
    assert look() is None


def test_a_token_that_may_not_read_checks_still_shows_the_state(work: Work) -> None:
    work.publish()
    checks.report(work.repository, work.pull["head"]["sha"], "tests", "failure")
    work.forge.set_faults(no_checks=True)
    try:
        work.wait()
        before = work.runner.pr_checked_at
        check_pull_requests()
    finally:
        work.forge.set_faults(no_checks=False)
    assert work.runner.pr_checked_at > before and work.runner.pr_check_results is None
    work.wait()
    check_pull_requests()
    found = work.runner.pr_check_results
    assert found is not None and found["failed"] == 1


def test_checks_of_an_archived_runner_are_recorded_and_not_announced(work: Work) -> None:
    work.publish()
    with db.transaction():
        agent_runners.archive(work.ada, work.runner.id)
    before = work.runner
    results = CheckResults(passed=1, failed=0, pending=0, failures=())
    with db.transaction():
        check = Check(before.id, before.site, before.pr_number, before.pr_checks, False, None, None, None)
        record_check(check, PullRequestFacts(1, before.pr_url or "", PullRequestState.OPEN, results))
    after = work.runner
    assert after.pr_check_results is not None and after.pr_check_results["passed"] == 1
    assert after.last_event_seq == before.last_event_seq, "to receivers of webhooks it would be archived again"
