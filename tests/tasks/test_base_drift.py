"""The branch moves on while a runner works: that is measured, and the work is reapplied on its tip."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from app import artifacts, db, queue
from app.errors import Invalid
from app.models import AgentRunner, AgentRunnerSession, Site
from app.models.states import Mode, Resolver, SessionState
from app.services.publishing import base_drift
from app.services.runners import agent_runner_sessions, head
from tasks.publications import check_pull_requests
from tasks.sessions import run_session
from tests.tasks.conftest import read, runner_of
from tests.tasks.recorded import record_run
from tests.tasks.test_publishing import ada_of, commit, follow_up
from tests.workers.repositories import commit_all, git, write

Ask = Callable[..., uuid.UUID]


@pytest.fixture
def origin(tmp_path: Path, ask: Ask) -> Path:
    return tmp_path / "origin"


def others_commit(origin: Path, files: dict[str, str]) -> str:
    """Commit to the branch that runners started from."""
    write(origin, files)
    commit_all(origin)
    return str(git(origin, "rev-parse", "HEAD"))


def done(ask: Ask, script: str) -> uuid.UUID:
    session_id = ask(script)
    record_run(session_id)
    return session_id


def refreshed(session_id: uuid.UUID) -> AgentRunner:
    with db.transaction():
        runner = base_drift.request_refresh(ada_of(session_id), runner_of(session_id).id)
        assert runner.is_being_refreshed
    check_pull_requests()
    runner = runner_of(session_id)
    assert not runner.is_being_refreshed
    return runner


def test_a_refresh_says_how_far_the_branch_moved_and_what_conflicts_or_why_it_fails(ask: Ask, origin: Path) -> None:
    session_id = done(ask, "echo ours > a.txt")
    origin.rename(origin.with_name("moved"))
    runner = refreshed(session_id)
    assert runner.behind_by is None and "could not be reached" in runner.refresh_error
    origin.with_name("moved").rename(origin)
    runner = refreshed(session_id)
    assert (runner.behind_by, runner.mergeable, runner.conflicts) == (0, True, [])
    others_commit(origin, {"b.txt": "theirs\n"})
    runner = refreshed(session_id)
    assert (runner.behind_by, runner.mergeable, runner.conflicts) == (1, True, [])
    others_commit(origin, {"a.txt": "theirs\n"})
    runner = refreshed(session_id)
    assert (runner.behind_by, runner.mergeable, runner.conflicts) == (2, False, ["a.txt"])
    assert runner.refreshed_at is not None and runner.refresh_error is None


def test_a_refresh_is_sent_at_once(ask: Ask, origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session_id = done(ask, "echo ours > a.txt")
    sent: list[str] = []
    monkeypatch.setattr(queue, "send", lambda task, *_, **__: sent.append(task))
    with db.transaction():
        base_drift.request_refresh(ada_of(session_id), runner_of(session_id).id)
    assert sent == [queue.CHECK_PULL_REQUESTS]


def rebase(session_id: uuid.UUID) -> AgentRunnerSession:
    """Rebase the runner of the session; the session that did it."""
    with db.transaction():
        made = agent_runner_sessions.rebase(ada_of(session_id), runner_of(session_id).id)
    run_session(str(made.id))
    return read(made.id)


def rebase_by_agent(session_id: uuid.UUID, script: str) -> AgentRunnerSession:
    with db.transaction():
        made = agent_runner_sessions.rebase(ada_of(session_id), runner_of(session_id).id, Resolver.AGENT, script)
    run_session(str(made.id))
    return read(made.id)


def diff_of(key: str | None) -> str:
    assert key is not None
    return b"".join(artifacts.store().read(key)).decode()


def test_a_rebase_reapplies_the_diff_on_the_tip(ask: Ask, origin: Path) -> None:
    session_id = done(ask, "printf 'a\\nours\\n' > a.txt")
    old = runner_of(session_id)
    tip = others_commit(origin, {"b.txt": "theirs\n", "a.txt": "theirs\n" + "a\n"})
    rebased = rebase(session_id)
    assert rebased.state == SessionState.DONE, rebased.failure
    runner = runner_of(session_id)
    assert runner.base_sha == rebased.base_sha == tip != old.base_sha
    assert runner.head_session_id == rebased.id and rebased.parent_session_id == session_id
    assert diff_of(rebased.result_diff_key) == diff_of(rebased.cumulative_diff_key) == diff_of(runner.diff_key)
    assert " theirs\n a\n+ours\n" in diff_of(runner.diff_key) and "b.txt" not in diff_of(runner.diff_key)
    assert refreshed(session_id).behind_by == 0
    follow_up(session_id, "grep theirs b.txt && echo more >> a.txt")
    assert "+ours\n+more\n" in diff_of(runner_of(session_id).diff_key)
    landed = commit(session_id, target_branch="shared")
    assert landed.error is None
    assert git(origin, "show", "shared:a.txt") == "theirs\na\nours\nmore"
    assert git(origin, "log", "--format=%H", "shared").split()[2] == tip, "one commit holds what was before the rebase"


def test_a_rebase_can_be_undone_and_done_again(ask: Ask, origin: Path) -> None:
    session_id = done(ask, "echo ours > c.txt")
    before = runner_of(session_id)
    tip = others_commit(origin, {"b.txt": "theirs\n"})
    rebased = rebase(session_id)
    with db.transaction():
        runner = head.revert(ada_of(session_id), before.id, session_id)
        assert (runner.base_sha, runner.diff_key) == (before.base_sha, before.diff_key)
    with db.transaction():
        again = agent_runner_sessions.retry(ada_of(session_id), before.id, rebased.id)
        assert (again.mode, again.base_sha) == (Mode.REBASE, before.base_sha)
    run_session(str(again.id))
    assert runner_of(session_id).base_sha == tip
    assert commit(session_id, target_branch="shared").error is None
    follow_up(session_id, "echo more >> c.txt")
    others_commit(origin, {"d.txt": "theirs\n"})
    rebase(session_id)
    assert commit(session_id, target_branch="shared").error is None, "what landed has the base before"
    assert git(origin, "show", "shared:c.txt") == "ours\nmore"


def test_a_rebase_runs_no_agent_without_conflicts_names_them_without_an_agent_and_needs_a_diff(
    ask: Ask, origin: Path
) -> None:
    session_id = done(ask, "echo ours > a.txt; echo ours > b.txt")
    tip = others_commit(origin, {"c.txt": "theirs\n"})
    fine = rebase_by_agent(session_id, "exit 1")
    assert (fine.state, fine.base_sha) == (SessionState.DONE, tip), "no agent runs where nothing conflicts"

    before = runner_of(session_id)
    others_commit(origin, {"a.txt": "theirs\n"})
    refused = rebase(session_id)
    assert (refused.state, refused.failure["code"]) == (SessionState.ERROR, "rebase_conflict")
    assert "same places: a.txt." in refused.failure["message"]
    runner = runner_of(session_id)
    assert (runner.base_sha, runner.diff_key) == (before.base_sha, before.diff_key)
    assert runner.head_session_id == fine.id

    tip = others_commit(origin, {"a.txt": "ours\n", "b.txt": "ours\n"})
    assert rebase(session_id).state == SessionState.DONE
    runner = runner_of(session_id)
    assert (runner.base_sha, runner.diff_key) == (tip, None)
    with pytest.raises(Invalid) as caught:
        rebase(session_id)
    assert caught.value.error_code == "no_diff"


RESOLVED = "printf 'theirs and ours\\n' > a.txt"


@pytest.fixture
def conflicting(ask: Ask, origin: Path) -> uuid.UUID:
    """A session whose work conflicts with the branch in one file."""
    session_id = done(ask, "echo ours > a.txt; echo ours > c.txt")
    others_commit(origin, {"a.txt": "theirs\n"})
    return session_id


def test_an_agent_resolves_the_conflicts_of_a_rebase(conflicting: uuid.UUID, origin: Path) -> None:
    tip = git(origin, "rev-parse", "HEAD")
    script = f"grep -A1 '<<<<<<< branch-{tip[:12]}' a.txt; grep -B1 '>>>>>>> runner-{tip[:12]}' a.txt; {RESOLVED}"
    rebased = rebase_by_agent(conflicting, script)
    assert rebased.state == SessionState.DONE, rebased.failure
    runner = runner_of(conflicting)
    assert runner.base_sha == rebased.base_sha == tip and runner.head_session_id == rebased.id
    assert diff_of(rebased.result_diff_key) == diff_of(runner.diff_key)
    assert "-theirs\n+theirs and ours\n" in diff_of(runner.diff_key) and "c.txt" in diff_of(runner.diff_key)
    assert commit(conflicting, target_branch="shared").error is None
    assert git(origin, "show", "shared:a.txt") == "theirs and ours"


def test_a_rebase_that_its_agent_does_not_finish_changes_nothing_and_may_be_adopted(
    conflicting: uuid.UUID, origin: Path
) -> None:
    before = runner_of(conflicting)

    def expect_failure(rebased: AgentRunnerSession, code: str) -> None:
        assert (rebased.state, rebased.failure["code"]) == (SessionState.ERROR, code)
        runner = runner_of(conflicting)
        same = (before.base_sha, before.diff_key, conflicting)
        assert (runner.base_sha, runner.diff_key, runner.head_session_id) == same

    expect_failure(rebase_by_agent(conflicting, "exit 3"), "agent_failed")

    left = rebase_by_agent(conflicting, "sed -i '/^=======/,$!d' a.txt; mv a.txt moved.txt; echo ours > b.txt")
    expect_failure(left, "conflicts_left")
    assert "still marked in moved.txt." in left.failure["message"]
    assert "+ours" in diff_of(left.cumulative_diff_key), "what the agent did is kept"
    with db.transaction():
        again = agent_runner_sessions.retry(ada_of(conflicting), before.id, left.id)
        assert (again.resolve, again.base_sha) == (Resolver.AGENT, before.base_sha)
        agent_runner_sessions.stop_active(ada_of(conflicting), before.id)

    with db.transaction():
        made = agent_runner_sessions.rebase(ada_of(conflicting), before.id, Resolver.AGENT, "true")
        # As if it waited, and its work could not be stored: it is merged again.
        made.waiting_since = db.now()
    run_session(str(made.id))
    expect_failure(read(made.id), "conflicts_left")

    with db.transaction():
        head.revert(ada_of(conflicting), before.id, made.id)
    follow_up(conflicting, RESOLVED)
    runner = runner_of(conflicting)
    assert runner.base_sha == git(origin, "rev-parse", "HEAD")
    assert "-theirs\n+theirs and ours\n" in diff_of(runner.diff_key)


def test_a_file_that_one_side_deleted_is_left_to_the_agent(ask: Ask, origin: Path) -> None:
    session_id = done(ask, "rm a.txt; echo ours > c.txt")
    others_commit(origin, {"a.txt": "theirs\n"})
    rebased = rebase_by_agent(session_id, "grep theirs a.txt; rm a.txt")
    assert rebased.state == SessionState.DONE, rebased.failure
    assert "-theirs" in diff_of(runner_of(session_id).diff_key)


def test_marks_of_renamed_files_and_files_put_beside_others_count(ask: Ask, origin: Path) -> None:
    write(origin, {"long.txt": "".join(f"{n}\n" for n in range(30)), "h": "x\n"})
    commit_all(origin)
    session_id = done(ask, "mv long.txt two.txt; sed -i s/^5$/ours/ two.txt; echo ours > h")
    git(origin, "mv", "long.txt", "one.txt")
    text = (origin / "one.txt").read_text().replace("\n5\n", "\ntheirs\n")
    (origin / "h").unlink()
    others_commit(origin, {"one.txt": text, "h/z": "z\n"})
    rebased = rebase_by_agent(session_id, "true")
    assert (rebased.state, rebased.failure["code"]) == (SessionState.ERROR, "conflicts_left")
    assert "h~runner-" in rebased.failure["message"] and "one.txt" in rebased.failure["message"]


def test_a_setup_that_fails_because_of_conflicts_does_not_keep_the_agent_from_them(
    conflicting: uuid.UUID, origin: Path
) -> None:
    with db.transaction():
        site = db.session.get_one(Site, runner_of(conflicting).site_id)
        site.setup_command = "! grep '<<<<<<<' a.txt"
    rebased = rebase_by_agent(conflicting, RESOLVED)
    assert rebased.state == SessionState.DONE, rebased.failure
    assert "-theirs\n+theirs and ours\n" in diff_of(runner_of(conflicting).diff_key)


def test_a_conflict_that_setup_resolves_is_resolved(conflicting: uuid.UUID) -> None:
    with db.transaction():
        db.session.get_one(Site, runner_of(conflicting).site_id).setup_command = f"{RESOLVED}; echo left > left"
    rebased = rebase_by_agent(conflicting, RESOLVED)
    assert rebased.state == SessionState.DONE, rebased.failure
    assert "+theirs and ours\n" in diff_of(rebased.result_diff_key) and "left" not in diff_of(rebased.result_diff_key)
