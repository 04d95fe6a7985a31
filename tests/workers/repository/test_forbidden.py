"""Forbidden paths in a tree are found before the tree is pushed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.workers.repositories import git, make_job, make_origin, prepare
from workers.job import Host
from workers.repository.forbidden import find_forbidden, may_be_forbidden
from workers.repository.git import Git
from workers.repository.objects import NO_ENTRY, Objects
from workers.repository.trees import Change, changes

HARMFUL = '[submodule "x"]\n\tpath = x\n\turl = https://example.org/x.git\n\tupdate = !touch canary\n'


@pytest.fixture
def ours(host: Host, tmp_path: Path) -> Git:
    """Our directory of a workspace: new objects are loose, the others are in the mirror's packs."""
    origin = make_origin(tmp_path / "origin", {"file": "one\n", "folder/inside": "x\n"})
    return prepare(make_job(origin), host).git


def tree_with(ours: Git, *paths: str, content: str = "x\n", mode: str = "100644") -> str:
    """A tree with files at `paths`, even if git forbids their names."""
    blob = git(ours.directory, "hash-object", "-w", "--stdin", stdin=content.encode())
    lines = "".join(f"{mode} {blob}\t{path}\0" for path in paths)
    lenient = ("-c", "core.protectHFS=false", "-c", "core.protectNTFS=false")
    ours.run("read-tree", "--empty")
    git(ours.directory, *lenient, "update-index", "-z", "--index-info", stdin=lines.encode())
    return ours.line("write-tree")


def found_in(ours: Git, tree: str) -> list[str]:
    """What is forbidden in the tree. The look at the paths alone, which decides whether git is asked, misses none of it."""
    found = find_forbidden(ours, tree)
    with closing(Objects(ours)) as objects:
        assert may_be_forbidden(changes(objects, "", tree)) or not found
    return found


def test_an_ordinary_tree_has_no_forbidden_paths(ours: Git) -> None:
    assert found_in(ours, tree_with(ours, "new", "folder/new", ".gitignore", ".github/x")) == []


def test_names_that_some_systems_treat_as_git_are_reported_by_path(ours: Git) -> None:
    names = [".g\u200cit/config", "folder/.gi\u200dt", "folder/deep/.\u200cgit/hooks/pre-commit"]
    tree = tree_with(ours, "folder/fine", *names)
    assert found_in(ours, tree) == sorted(
        [".g\u200cit (hasDotgit)", "folder/.gi\u200dt (hasDotgit)", "folder/deep/.\u200cgit (hasDotgit)"]
    )


def test_names_that_windows_treats_as_git_are_reported(ours: Git) -> None:
    for name in ("GIT~1/x", "folder/.Git./x", ".git /x", "a/.git::$INDEX_ALLOCATION/x", "a\\.git\\x"):
        assert found_in(ours, tree_with(ours, name)), name


def test_links_that_look_like_gitmodules_are_reported(ours: Git) -> None:
    for name in ("GITMOD~1", "gi7eba~1", ".gitm\u200codules"):
        assert found_in(ours, tree_with(ours, name, content="x", mode="120000")) == [f"{name} (gitmodulesSymlink)"]


def test_any_link_and_a_very_long_name_are_checked() -> None:
    """Some versions of git have rules for where links lead, and for parts of a path over 4096 bytes."""
    usual, link = b"100644", b"120000"
    for path, mode, checked in (
        (b"a/link", link, True),
        (b"a/" + b"x" * 4097 + b"/b", usual, True),
        (b"x" * 4097, usual, True),
        (b"a/" + b"x" * 4096 + b"/" + b"y" * 4096, usual, False),
    ):
        assert may_be_forbidden([Change(path, NO_ENTRY.mode, mode, NO_ENTRY.id, b"1" * 40)]) is checked


def test_submodules_that_run_a_command_are_reported(ours: Git) -> None:
    for name in (".gitmodules", "folder/.gitmodules"):
        assert found_in(ours, tree_with(ours, name, content=HARMFUL)) == [f"{name} (gitmodulesUpdate)"]


def test_objects_of_another_tree_do_not_count(ours: Git) -> None:
    before = ours.line("write-tree")
    tree_with(ours, ".g\u200cit/config")
    assert found_in(ours, before) == []


def test_a_server_that_checks_pushes_refuses_exactly_those(ours: Git, tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "strict.git")
    git(tmp_path / "strict.git", "config", "receive.fsckObjects", "true")
    for number, (paths, content) in enumerate(
        [(["new"], "x"), ([".g\u200cit/x"], "x"), ([".gitmodules"], HARMFUL), ([".gitmodules"], "[submodule]\n")]
    ):
        tree = tree_with(ours, *paths, content=content)
        commit = git(ours.directory, "commit-tree", "-m", "x", tree)
        push = ["push", "--quiet", str(tmp_path / "strict.git"), f"{commit}:refs/heads/b{number}"]
        try:
            git(ours.directory, *push)
        except AssertionError:
            taken = False
        else:
            taken = True
        assert taken == (found_in(ours, tree) == []), paths
