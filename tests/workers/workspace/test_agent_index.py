"""What the agent tells its own git counts: what it tracks although it is ignored, and what it tracks no longer."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.matrix import FULL
from tests.workers.attempts import Attempt, Engine, engine_in
from tests.workers.engine import AVAILABLE, SANDBOXES, git
from tests.workers.repositories import (
    ENVIRONMENT,
    finish,
    following,
    make_origin,
    names,
    prepare,
    write,
)
from workers.job import Host, Job, Limits
from workers.workspace.agent_index import read_agent_index
from workers.workspace.workspace import Workspace

FILES: dict[str, str | bytes] = {"README": "hello\n", "config.local": "x=1\n", ".gitignore": "dist/\nconfig.local\n"}


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", FILES)


def work(workspace: Workspace, script: str) -> None:
    """What an agent does in its checkout."""
    subprocess.run(["sh", "-ec", script], cwd=workspace.checkout, env=ENVIRONMENT, check=True)


def after(workspace: Workspace, script: str, diff_limits: Limits | None = None) -> set[str]:
    work(workspace, script)
    return names(workspace, workspace.snapshot(diff_limits))


STAGED = "mkdir dist; echo built > dist/app.js; echo map > dist/app.map; git add -f dist/app.js"


@pytest.mark.parametrize("committed", [False, True])
def test_an_ignored_file_counts_that_was_added_by_force_or_is_no_longer_tracked(
    workspace: Workspace, committed: bool
) -> None:
    script = f"{STAGED}; git rm -q --cached config.local" + ("; git commit -qm built" if committed else "")
    for diff_limits in (None, Limits()):
        expected = {*FILES, "dist/app.js"} - {"config.local"}
        assert after(workspace, script if diff_limits is None else "true", diff_limits) == expected
    assert (workspace.checkout / "config.local").exists()


def test_a_staged_file_counts_whose_name_git_could_take_for_a_pattern(workspace: Workspace) -> None:
    script = "mkdir dist; for name in ':!y' ':(top)z' '!a' '*' '[b]' dist/':c'; do echo x > \"$name\"; git add -f \":(literal)$name\"; done"
    for diff_limits in (None, Limits()):
        expected = {*FILES, ":!y", ":(top)z", "!a", "*", "[b]", "dist/:c"}
        assert after(workspace, script if diff_limits is None else "true", diff_limits) == expected


def test_a_file_that_is_tracked_no_longer_but_not_ignored_stays(workspace: Workspace) -> None:
    assert after(workspace, "git rm -q --cached README; echo more >> README") == FILES.keys()


def test_both_survive_in_later_sessions(host: Host, job: Job) -> None:
    first = prepare(job, host)
    work(first, STAGED + "; git rm -q --cached config.local")
    tree = finish(first, job)
    later = prepare(following(job, 2), host)
    assert later.start_tree == tree
    later.after_setup()
    assert after(later, "git status; echo more >> dist/app.js") == {*FILES, "dist/app.js"} - {"config.local"}


def test_what_the_index_says_of_files_that_are_not_there_adds_none(workspace: Workspace, tmp_path: Path) -> None:
    write(tmp_path, {"outside/app.js": "canary\n"})
    script = (
        f"{STAGED}; git add -f dist/app.map; rm -r dist; ln -s {tmp_path}/outside dist; rm README; ln -s dist README"
    )
    assert after(workspace, script) == {*FILES, "dist"}


def test_files_of_a_sparse_checkout_that_are_not_there_stay(workspace: Workspace) -> None:
    write(workspace.checkout, {"new": "x\n"})
    assert after(workspace, "git sparse-checkout set --no-cone /new; test ! -e README") == {*FILES, "new"}


def test_what_setup_recorded_in_the_index_is_no_work_of_the_agent(host: Host, job: Job) -> None:
    workspace = prepare(job, host)
    work(workspace, STAGED + "; git rm -q --cached config.local")
    workspace.after_setup()
    work(workspace, "git status")
    assert workspace.snapshot() == workspace.start_tree


# What leaves no index that can be compared.
LOST = [
    "git rm -rq --cached .",
    "rm -rf .git; mkfifo .git",
    "rm -rf .git; ln -s / .git",
]
UNREADABLE = [
    "rm -rf .git",
    "rm .git/index",
    "head -c 100000 /dev/urandom > .git/index",
    "rm -rf .git; git init -q; git add README",
    "rm .git/index; mkfifo .git/index",
    "printf '[core]\\n\\tbare = perhaps\\n' > .git/config",
]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe is waited for."""
    monkeypatch.setattr("workers.workspace.agent_index._SECONDS", 2.0)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("script", LOST + UNREADABLE if FULL else LOST)
def test_without_an_index_nothing_is_lost(workspace: Workspace, script: str) -> None:
    assert after(workspace, f"{script}; echo > new") == {*FILES, "new"}


@pytest.mark.usefixtures("impatient")
def test_an_index_that_cannot_be_compared_is_none(host: Host, workspace: Workspace, tmp_path: Path) -> None:
    repository, whole = workspace.checkout / ".git", tmp_path / "whole"
    shutil.copytree(repository, whole)
    work(workspace, STAGED)
    said = read_agent_index(host, workspace, workspace.base_sha)
    assert said is not None and said.staged == [b"dist/app.js"]
    for script in UNREADABLE:
        shutil.rmtree(repository, ignore_errors=True)
        shutil.copytree(whole, repository)
        work(workspace, script)
        assert read_agent_index(host, workspace, workspace.base_sha) is None, script


def test_an_untouched_index_is_not_read(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.workspace.workspace.read_agent_index", None)
    assert after(workspace, "echo > new") == {*FILES, "new"}


# Answers of a program that stands where git should be


@pytest.fixture
def answering(host: Host, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `git` prints for each of its commands, by name, in the place of git."""
    answers = tmp_path / "answers"
    write(tmp_path, {"programs/git": f'#!/bin/sh\ncat "{answers}/$1" 2> /dev/null\n'})
    (tmp_path / "programs/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/programs{os.pathsep}{os.environ['PATH']}")
    write(answers, {"ls-files": "x"})
    return answers


ADDED = b":000000 100644 " + b"0" * 40 + b" " + b"1" * 40 + b" A\0"


def test_an_answer_that_makes_no_sense_is_none(answering: Path, host: Host, workspace: Workspace) -> None:
    for difference in (
        ADDED + b"../../etc/passwd\0",
        ADDED + b"/etc/passwd\0",
        ADDED + b"dist/../../x\0",
        ADDED + b".git/config\0",
        ADDED + b"dist//x\0",
        ADDED,
        ADDED + b"x" * 5000 + b"\0",
        b"no difference\0dist/app.js\0",
        b"\0\0\0\0\0",
        b"\n" * 1000,
    ):
        (answering / "diff-index").write_bytes(difference)
        said = read_agent_index(host, workspace, workspace.base_sha)
        assert said is None or not (said.staged or said.dropped), difference


def test_an_answer_without_an_end_is_cut_off(
    answering: Path, host: Host, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.workspace.agent_index._MOST_BYTES", 100_000)
    (answering / "diff-index").symlink_to("/dev/zero")
    notes: list[str] = []
    assert read_agent_index(host, workspace, workspace.base_sha, notes=notes) is None
    assert len(notes) == 1, "work may be lost, and a step says so"


# Whole attempts


@pytest.fixture(params=SANDBOXES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    files = [(name, str(content)) for name, content in FILES.items() if name != "config.local"]
    with engine_in(tmp_path, request.param, files) as made:
        (made.source / "config.local").write_text("x=1\n")
        git(made.source, "add", "-f", "config.local")
        git(made.source, "commit", "-qm", "slip")
        yield made


def run(engine: Engine, script: str) -> Attempt:
    script = f"{STAGED}; git rm -q --cached config.local; {script}"
    is_endless = "sleep" in script
    attempt = engine.run_into("max_duration_seconds", script, "begun") if is_endless else engine.run(script)
    assert "+built" in engine.diff and "-x=1" in engine.diff and "+map" not in engine.diff
    return attempt


def test_the_index_counts_however_a_session_ends(engine: Engine) -> None:
    assert run(engine, "false").outcome.failure
    if FULL or engine.host.sandbox == AVAILABLE:
        assert run(engine, "git commit -qm done").outcome.failure is None
        assert run(engine, "echo begun; sleep 300").outcome.failure
