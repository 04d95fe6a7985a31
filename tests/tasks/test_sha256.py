"""A site whose repository has ids of SHA-256: everything that can be done with the work of its runners."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from app import db
from app.models.states import PublicationState, SessionState
from app.services.runners import head
from tests.demo.forge import DemoForge
from tests.tasks.conftest import read
from tests.tasks.pull_request import Work
from tests.tasks.test_base_drift import diff_of, rebase, refreshed
from tests.tasks.test_comparisons import compared
from tests.tasks.test_publishing import commit, follow_up

Ask = Callable[..., uuid.UUID]


@pytest.fixture
def work(ask: Ask, configure: Callable[..., None], forge: DemoForge) -> Work:
    configure(ALLOW_HTTP="true", ALLOW_PRIVATE_ADDRESSES="true")
    session_id = ask("printf 'a\\nours\\n' > a.txt; printf 'b\\0' > b.bin; git status --short")
    return Work(forge, session_id, object_format="sha256", runs=True)


def show(work: Work, name: str) -> str:
    return work.repository.git("show", name)


def test_edits_follow_ups_and_reverts(work: Work) -> None:
    runner, first = work.runner, read(work.first)
    assert first.state == SessionState.DONE, first.failure
    assert runner.base_sha == work.repository.branches()["main"] and len(runner.base_sha) == 64
    second = follow_up(
        work.first, "grep ours a.txt && rm b.bin && echo more >> a.txt && git add a.txt && git commit -m x"
    )
    assert read(second).state == SessionState.DONE, read(second).failure
    assert "b.bin" not in diff_of(work.runner.diff_key) and "b.bin" in diff_of(read(second).result_diff_key)
    assert "-more" in diff_of(compared(second, work.first).diff_key)
    with db.transaction():
        head.revert(work.ada, runner.id, work.first)
    third = follow_up(work.first, "cat b.bin && ! grep more a.txt")
    assert read(third).state == SessionState.DONE, read(third).failure


def test_a_pull_request_a_commit_drift_and_a_rebase(work: Work) -> None:
    work.publish(title="A title")
    assert len(work.pull["head"]["sha"]) == 64
    assert show(work, f"{work.pull['head']['ref']}:a.txt") == "a\nours\n"
    work.repository.commit("shared", {"d.txt": "d\n"}, "Others", start=work.repository.branches()["main"])
    landed = commit(work.first, target_branch="shared")
    assert landed.state == PublicationState.DONE, landed.error
    assert (show(work, "shared:a.txt"), show(work, "shared:d.txt")) == ("a\nours\n", "d\n")
    assert landed.pushed_sha == work.repository.branches()["shared"]

    work.repository.commit("main", {"a.txt": "theirs\na\n", "c.txt": "c\n"}, "Others")
    runner = refreshed(work.first)
    assert (runner.behind_by, runner.mergeable, runner.conflicts, runner.refresh_error) == (1, True, [], None)
    rebased = rebase(work.first)
    assert rebased.state == SessionState.DONE, rebased.failure
    assert " theirs\n a\n+ours\n" in diff_of(work.runner.diff_key)
    work.repository.commit("main", {"a.txt": "other\n"}, "Others again")
    assert refreshed(work.first).conflicts == ["a.txt"]
