"""Submodules: what becomes of a gitlink, and of what lies in its folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.matrix import FULL
from tests.workers.repositories import (
    ENVIRONMENT,
    applied,
    finish,
    following,
    git,
    make_origin,
    prepare,
    stored_diffs,
)
from workers.job import Host, Job
from workers.workspace.workspace import Workspace

COMMIT, OTHER = "1" * 40, "2" * 40
LIST = '[submodule "lib"]\n\tpath = lib\n\turl = https://example.org/lib.git\n'
# A repository of the agent's own making in the folder of the submodule.
CHECKED_OUT = "git init -q lib; cd lib; echo x > x; git add x; git commit -qm x; "
PUBLISHED = "git update-ref refs/remotes/origin/main HEAD; "


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", {"README": "hello\n", ".gitmodules": LIST}, then=add_submodule)


def add_submodule(made: Path) -> None:
    git(made, "update-index", "--add", "--cacheinfo", f"160000,{COMMIT},lib")
    git(made, "commit", "--quiet", "--message", "a submodule")


def work(workspace: Workspace, script: str) -> None:
    """What an agent does in its checkout."""
    subprocess.run(["sh", "-ec", script], cwd=workspace.checkout, env=ENVIRONMENT, check=True)


def after(workspace: Workspace, script: str) -> dict[str, str]:
    """Type and id at each path of the tree that comes of an agent's work."""
    work(workspace, script)
    return entries(workspace, workspace.snapshot())


def entries(workspace: Workspace, tree: str) -> dict[str, str]:
    listed = (line.split("\t") for line in git(workspace.git.directory, "ls-tree", "-r", tree).splitlines())
    return {path: words.partition(" ")[2] for words, path in listed}


def test_a_submodule_stays_as_it_is_and_an_edit_in_one_that_is_not_checked_out_is_named(workspace: Workspace) -> None:
    assert after(workspace, "git status; echo more >> README")["lib"] == f"commit {COMMIT}"
    assert workspace.notes == []
    assert after(workspace, "echo fixed > lib/lib.py")["lib"] == f"commit {COMMIT}"
    assert workspace.notes == ["lib/lib.py: a file in a submodule that is not checked out"]


def test_a_folder_that_takes_the_place_of_a_submodule_holds_plain_files(workspace: Workspace) -> None:
    found = after(workspace, "rm -rf lib .gitmodules; mkdir lib; echo v > lib/lib.py")
    assert found.keys() == {"README", "lib/lib.py"} and workspace.notes == []


def test_a_submodule_that_was_taken_out_of_the_index_leaves_plain_files(host: Host, job: Job) -> None:
    first = prepare(job, host)
    work(first, "git rm -q --cached lib; echo v > lib/lib.py")
    tree = finish(first, job)
    assert entries(first, tree).keys() == {"README", ".gitmodules", "lib/lib.py"}
    # Those stay, although the base has a submodule there.
    later = prepare(following(job, 2), host)
    assert later.start_tree == tree
    assert "lib/lib.py" in after(later, "git status; echo w >> lib/lib.py")


def test_a_submodule_turns_into_a_folder_of_plain_files_with_its_repository_removed(workspace: Workspace) -> None:
    script = CHECKED_OUT + "cd ..; rm -rf lib/.git; git rm -q --cached lib; git rm -qf .gitmodules; git add lib"
    assert after(workspace, script).keys() == {"README", "lib/x"}


def test_a_commit_in_the_index_is_recorded_and_later_sessions_see_it(host: Host, origin: Path, job: Job) -> None:
    first = prepare(job, host)
    work(first, f"git update-index --cacheinfo 160000,{OTHER},lib")
    tree = finish(first, job)
    assert entries(first, tree)["lib"] == f"commit {OTHER}"
    assert applied(origin, first.base_sha, stored_diffs(job)["cumulative"]) == tree
    later = prepare(following(job, 2), host)
    assert after(later, f"git ls-files -s lib | grep -q {OTHER}; git status")["lib"] == f"commit {OTHER}"


def test_a_commit_that_was_made_in_a_submodule_is_recorded_and_named_until_a_remote_has_it(
    workspace: Workspace,
) -> None:
    found = after(workspace, CHECKED_OUT)
    made = git(workspace.checkout / "lib", "rev-parse", "HEAD")
    assert found["lib"] == f"commit {made}"
    assert workspace.notes == [f"lib: the content of the submodule's commit {made}, which no remote branch has"]
    assert after(workspace, f"cd lib; {PUBLISHED}")["lib"] == f"commit {made}"
    assert workspace.notes == []


def test_a_submodule_moves(workspace: Workspace) -> None:
    found = after(workspace, "mkdir third; git mv lib third/lib")
    assert found["third/lib"] == f"commit {COMMIT}" and "lib" not in found


def test_a_submodule_is_added(workspace: Workspace, tmp_path: Path) -> None:
    source = make_origin(tmp_path / "source", {"x": "x\n"})
    found = after(workspace, f"git -c protocol.file.allow=always submodule --quiet add {source} added")
    assert found["added"] == f"commit {git(source, 'rev-parse', 'HEAD')}" and "added/x" not in found
    assert workspace.notes == []


def test_a_submodule_is_removed(workspace: Workspace) -> None:
    assert after(workspace, "git rm -qf lib").keys() == {"README", ".gitmodules"}


def test_a_repository_that_was_added_without_an_address_is_named(workspace: Workspace) -> None:
    found = after(workspace, CHECKED_OUT.replace("lib", "own") + "cd ..; git add own")
    assert found["own"].startswith("commit ")
    expected = "own: the files of a repository that was added as a submodule but is not named in .gitmodules"
    assert workspace.notes == [expected]


def test_the_history_of_a_nested_repository_is_named_where_its_files_are_kept(host: Host, job: Job) -> None:
    workspace = prepare(job, host)
    work(workspace, "git init -q of-setup; echo x > of-setup/x")
    workspace.after_setup()
    ignored = "mkdir ignored; echo '*' > ignored/.gitignore; git init -q ignored/one; echo x > ignored/one/x; "
    assert "own/x" in after(workspace, ignored + CHECKED_OUT.replace("lib", "own"))
    assert workspace.notes == ["own/.git: the history of a nested repository; its files are kept"]


def test_what_setup_did_to_a_submodule_is_no_work_of_the_agent(host: Host, job: Job) -> None:
    workspace = prepare(job, host)
    work(workspace, CHECKED_OUT + "cd ..; git add lib")
    workspace.after_setup()
    work(workspace, "git status")
    assert workspace.snapshot() == workspace.start_tree


@pytest.mark.parametrize("script", ["rm -rf .git", "echo nonsense > .git/index", *(["rm .git/index"] if FULL else [])])
def test_without_an_index_that_makes_sense_submodules_stay_as_they_were(workspace: Workspace, script: str) -> None:
    found = after(workspace, f"{script}; echo more >> README")
    assert found["lib"] == f"commit {COMMIT}"


def test_what_fits_of_work_that_ended_badly_has_its_submodules_too(workspace: Workspace, job: Job) -> None:
    work(workspace, f"git update-index --cacheinfo 160000,{OTHER},lib; git rm -q --cached README; echo > new")
    found = entries(workspace, workspace.snapshot(job.limits))
    assert found["lib"] == f"commit {OTHER}" and found.keys() == {"README", ".gitmodules", "lib", "new"}
