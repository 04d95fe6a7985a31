"""Sessions on partial mirrors do what those on whole ones do, on both kinds of checkout."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.matrix import usual
from tests.workers.partial import TOO_LARGE, contents_in, make_large, mirror_of
from tests.workers.repositories import applied, commit_all, git, make_job, stored_diffs, write
from tests.workers.workspace.test_any_change import hosts
from tests.workers.workspace.test_sparse import FILES, SHOP, after, begun, changed, in_checkout, session
from workers.errors import EngineError
from workers.job import Host, Job

__all__ = ["hosts"]
SEEN = {"README", "services/README", "services/shop/a", "services/shop/deep/b", "libs/.gitignore"}


@pytest.fixture
def origin(hosts: list[Host]) -> Path:
    return make_large(hosts[0].work_dir.parent / os.urandom(4).hex(), FILES)


def job_on(origin: Path, host: Host, **settings: object) -> Job:
    """The first session of a runner of a site of its own, on a mirror that no other host shares."""
    name = f"{origin.name}-{host.overlay}"
    usual = {"site_id": name, "session_id": f"session-{name}", "sparse_paths": SHOP, "partial_clone": True}
    return make_job(origin, **{**usual, **settings})


def next_of(job: Job, attempt: int, **settings: object) -> Job:
    return after(job, attempt, partial_clone=True, **settings)


def on_each(hosts: list[Host], origin: Path, act: Callable[[Host, Job], object]) -> object:
    """Do the same on each kind of checkout, with the same result and the same bytes."""
    results = []
    for host in hosts:
        job = job_on(origin, host)
        results.append((act(host, job), stored_diffs(job)))
    assert all(result == results[0] for result in results)
    return results[0][0]


def test_nothing_is_obtained_for_an_earlier_diff_that_is_too_large(hosts: list[Host], origin: Path) -> None:
    for host in hosts:
        job = job_on(origin, host, start_diff=lambda: iter([TOO_LARGE]))
        with pytest.raises(EngineError, check=lambda error: error.code == "diff_too_large"):
            begun(job, host)
        assert "libs/x" not in contents_in(mirror_of(host, job.site_id), origin)


def test_a_session_has_only_the_contents_of_its_folders_and_the_agents_git_works(
    hosts: list[Host], origin: Path
) -> None:
    script = (
        "git status --short; echo more >> services/shop/a; git diff --stat; git commit -qam one; git status --short"
    )
    script += "; git stash list; echo new > services/new; git add -A; git commit -qm two; git log --oneline | wc -l"
    script += "; git checkout -qb other HEAD~1; git diff --name-only other; git fsck --connectivity-only 2>&1 | grep -v ^dangling; ls"

    def act(host: Host, job: Job) -> tuple[list[str], dict[str, str]]:
        workspace = begun(job, host)
        shown = in_checkout(workspace, script)
        found = changed(workspace, job)
        workspace.dispose()
        assert contents_in(mirror_of(host, job.site_id), origin) == SEEN
        return shown.split(), found

    shown, found = on_each(hosts, origin, act)  # type: ignore[misc]
    assert shown == [
        "services/shop/a",
        "|",
        "1",
        "+",
        "1",
        "file",
        "changed,",
        "1",
        "insertion(+)",
        "3",
        "README",
        "services",
    ]
    assert found == {"services/shop/a": "M"}


def test_without_folders_all_contents_of_the_commit_are_there(hosts: list[Host], origin: Path) -> None:
    def act(host: Host, job: Job) -> dict[str, str]:
        job = replace(job, sparse_paths=())
        found = session(job, host, "git status --short | grep . && exit 1; cat libs/x >> README; git commit -qam one")
        assert contents_in(mirror_of(host, job.site_id), origin) == set(FILES)
        return found[0]

    assert on_each(hosts, origin, act) == {"README": "M"}


def test_work_outside_of_the_folders_gets_the_old_content(hosts: list[Host], origin: Path) -> None:
    script = "mkdir libs; echo mine > libs/x; mv services/shop/a libs/a"

    def act(host: Host, job: Job) -> object:
        first = session(job, host, script)
        assert contents_in(mirror_of(host, job.site_id), origin) == SEEN | {"libs/x"}
        assert applied(origin, git(origin, "rev-parse", "HEAD"), stored_diffs(job)["result"])
        # Another worker has nothing yet.
        shutil.rmtree(mirror_of(host, job.site_id))
        second = next_of(job, 2)
        workspace = begun(second, host)
        shown = in_checkout(
            workspace, "cat libs/x; git status --short -uall; git diff --stat; git commit -qam all; rm libs/x"
        )
        later = changed(workspace, second)
        workspace.dispose()
        third = next_of(second, 3, sparse_paths=("libs",))
        return first, shown, later, session(third, host, "git checkout -q HEAD -- x 2>&1; ls libs; cat libs/y/z")

    first, shown, later, _ = on_each(hosts, origin, act)  # type: ignore[misc]
    assert first == ({"libs/x": "M", "services/shop/a": "D", "libs/a": "A"}, [])
    assert shown.split()[:7] == ["mine", "M", "libs/x", "D", "services/shop/a", "??", "libs/a"] and "fatal" not in shown
    assert later == {"libs/x": "D", "services/shop/a": "D", "libs/a": "A"}


def test_a_change_whose_old_content_cannot_be_fetched_is_named_and_the_rest_is_kept(
    hosts: list[Host], origin: Path
) -> None:
    gone = origin.with_name(f"{origin.name}-gone")

    def act(host: Host, job: Job) -> tuple[dict[str, str], list[str]]:
        workspace = begun(job, host)
        in_checkout(workspace, "mkdir libs; echo mine > libs/x; echo new > libs/new; echo more >> services/shop/a")
        origin.rename(gone)
        found = changed(workspace, job)
        gone.rename(origin)
        notes = [*workspace.left_out, *workspace.notes]
        workspace.dispose()
        return found, notes

    found, [note] = on_each(hosts, origin, act)  # type: ignore[misc]
    assert found == {"libs/new": "A", "services/shop/a": "M"}
    assert note.startswith("libs/x: its change, as its old content was not obtained: ")


def test_a_session_on_a_new_commit_fetches_only_what_is_new(hosts: list[Host], origin: Path) -> None:
    for host in usual(hosts):
        job = job_on(origin, host)
        begun(job, host).dispose()
        write(origin, {"services/shop/a": f"newer {host.overlay}\n", "libs/x": f"newer x {host.overlay}\n"})
        commit_all(origin)
        packs = mirror_of(host, job.site_id) / "objects" / "pack"
        before = set(packs.glob("*.pack"))
        workspace = begun(replace(job, attempt=2), host)
        assert in_checkout(workspace, "cat services/shop/a; git status --short").startswith("newer")
        workspace.dispose()
        assert len(set(packs.glob("*.pack")) - before) == 2, "one fetch of the branch, and one of contents"
        assert "libs/x" not in contents_in(mirror_of(host, job.site_id), origin)
