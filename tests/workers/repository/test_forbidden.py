"""Forbidden paths in a tree are found before the tree is pushed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.repositories import git, make_job, make_origin, prepare
from workers.job import Host
from workers.repository.forbidden import find_forbidden
from workers.repository.git import Git

HARMFUL = '[submodule "x"]\n\tpath = x\n\turl = https://example.org/x.git\n\tupdate = !touch canary\n'


@pytest.fixture
def ours(host: Host, tmp_path: Path) -> Git:
    """Our directory of a workspace: new objects are loose, the others are in the mirror's packs."""
    origin = make_origin(tmp_path / "origin", {"file": "one\n", "folder/inside": "x\n"})
    return prepare(make_job(origin), host).git


def tree_with(ours: Git, *paths: str, content: str = "x\n") -> str:
    """The tree of the index with files at `paths`, even if git forbids their names."""
    blob = git(ours.directory, "hash-object", "-w", "--stdin", stdin=content.encode())
    lines = "".join(f"100644 {blob}\t{path}\0" for path in paths)
    lenient = ("-c", "core.protectHFS=false")
    git(ours.directory, *lenient, "update-index", "-z", "--index-info", stdin=lines.encode())
    return ours.line("write-tree")


def test_an_ordinary_tree_has_no_forbidden_paths(ours: Git) -> None:
    assert find_forbidden(ours, tree_with(ours, "new", "folder/new", ".gitignore", ".github/x")) == []


def test_names_that_some_systems_treat_as_git_are_reported_by_path(ours: Git) -> None:
    names = [".g\u200cit/config", "folder/.gi\u200dt", "folder/deep/.\u200cgit/hooks/pre-commit"]
    tree = tree_with(ours, "folder/fine", *names)
    assert find_forbidden(ours, tree) == sorted(
        [".g\u200cit (hasDotgit)", "folder/.gi\u200dt (hasDotgit)", "folder/deep/.\u200cgit (hasDotgit)"]
    )


@pytest.mark.parametrize("name", [".gitmodules", "folder/.gitmodules"])
def test_submodules_that_run_a_command_are_reported(ours: Git, name: str) -> None:
    assert find_forbidden(ours, tree_with(ours, name, content=HARMFUL)) == [f"{name} (gitmodulesUpdate)"]


def test_objects_of_another_tree_do_not_count(ours: Git) -> None:
    before = ours.line("write-tree")
    tree_with(ours, ".g\u200cit/config")
    assert find_forbidden(ours, before) == []


def test_a_server_that_checks_pushes_refuses_exactly_those(ours: Git, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "strict.git")
    git(tmp_path / "strict.git", "config", "receive.fsckObjects", "true")
    for number, (paths, content) in enumerate(
        [(["new"], "x"), ([".g\u200cit/x"], "x"), ([".gitmodules"], HARMFUL), ([".gitmodules"], "[submodule]\n")]
    ):
        ours.run("read-tree", "--empty")
        tree = tree_with(ours, *paths, content=content)
        commit = git(ours.directory, "commit-tree", "-m", "x", tree)
        push = ["push", "--quiet", str(tmp_path / "strict.git"), f"{commit}:refs/heads/b{number}"]
        try:
            git(ours.directory, *push)
        except AssertionError:
            taken = False
        else:
            taken = True
        assert taken == (find_forbidden(ours, tree) == []), paths
