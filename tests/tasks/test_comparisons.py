"""A control worker's part of a comparison: `git apply` of the diff on the files of one session gives those of the other."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from app import artifacts, db
from app.models import Comparison
from app.services.runners import comparisons, head
from tasks.comparisons import compare
from tests.tasks.conftest import read, runner_of
from tests.tasks.test_base_drift import done, others_commit, rebase
from tests.tasks.test_publishing import ada_of, follow_up
from tests.workers.repositories import git

Ask = Callable[..., uuid.UUID]


@pytest.fixture
def origin(tmp_path: Path, ask: Ask) -> Path:
    return tmp_path / "origin"


def compared(old: uuid.UUID, new: uuid.UUID) -> Comparison:
    """Request the diff between two sessions that is not stored yet, and have it made."""
    ada, runner_id = ada_of(new), runner_of(new).id
    with db.transaction():
        row = comparisons.request(ada, runner_id, old, new).row
        assert row.done_at is None
    compare(str(row.id))
    with db.transaction(read_only=True):
        return comparisons.get(ada, runner_id, row.id).row


def read_diff(key: str | None) -> bytes:
    assert key is not None
    return b"".join(artifacts.store().read(key))


def files_after(origin: Path, folder: Path, base: str, *diffs: bytes) -> dict[str, bytes]:
    """The files of a commit with diffs applied by plain git, one after the other."""
    git(origin, "worktree", "add", "--quiet", "--detach", str(folder), base)
    for number, diff in enumerate(diffs):
        patch = folder.with_name(f"{folder.name}-{number}.patch")
        patch.write_bytes(diff)
        git(folder, "apply", "--binary", "--index", "--whitespace=nowarn", str(patch))
    listed = git(folder, "ls-files", "-s").splitlines()
    return {line.split("\t")[1]: (line[:6].encode() + (folder / line.split("\t")[1]).read_bytes()) for line in listed}


def test_any_two_sessions_are_compared_whichever_line_of_work_they_are_on(
    ask: Ask, origin: Path, tmp_path: Path
) -> None:
    first = done(
        ask,
        "printf '1\\n2\\n3\\n4\\n5\\n6\\n7\\n8\\n9\\n' > a.txt; printf 'b\\0' > b.bin; mkdir d; echo d > 'd/with space.txt'",
    )
    second = follow_up(first, "sed -i s/8/eight/ a.txt; printf 'c\\0' > b.bin; git mv -f 'd/with space.txt' moved.txt")
    with db.transaction():
        head.revert(ada_of(first), runner_of(first).id, first)
    third = follow_up(first, "sed -i s/2/two/ a.txt; chmod +x a.txt; rm b.bin")
    base = read(first).base_sha
    assert base is not None
    trees = {
        each: files_after(origin, tmp_path / f"tree-{each}", base, read_diff(read(each).cumulative_diff_key))
        for each in (second, third)
    }
    for old, new in ((second, third), (third, second)):
        made = compared(old, new)
        assert made.failure is None and made.diff_key is not None
        diffs = (read_diff(read(old).cumulative_diff_key), read_diff(made.diff_key))
        assert files_after(origin, tmp_path / f"from-{old}", base, *diffs) == trees[new]
    assert compared(second, first).diff_key is not None, "backwards along one line"


def test_sessions_of_different_bases_are_compared_with_what_the_branch_brought(ask: Ask, origin: Path) -> None:
    first = done(ask, "echo ours > c.txt")
    others_commit(origin, {"b.txt": "theirs\n"})
    rebased = rebase(first)
    diff = read_diff(compared(first, rebased.id).diff_key).decode()
    assert "+theirs" in diff and "ours" not in diff
    alike = follow_up(first, "rm b.txt")
    assert "c.txt" not in read_diff(read(alike).result_diff_key).decode()
    again = compared(first, alike)
    assert (again.diff_key, again.failure) == (None, None), "the files are the same, the diffs are not"


def test_a_comparison_that_fails_says_why_and_tells_no_secret(ask: Ask, origin: Path) -> None:
    first = done(ask, "echo one > a.txt")
    second = follow_up(first, "echo two > a.txt")
    key = read(first).cumulative_diff_key
    assert key is not None
    artifacts.store().delete(key)
    made = compared(second, first)
    assert made.diff_key is None and made.failure is not None and made.failure["code"] == "diff_gone"
    compare(str(made.id))
    assert comparisons.get(ada_of(first), runner_of(first).id, made.id).state == "failed", "a second message is dropped"
