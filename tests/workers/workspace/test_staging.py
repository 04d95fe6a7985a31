"""Saving ends, whatever the agent left for git to stumble over, and what git refuses is named."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.matrix import usual
from tests.workers.engine import eventually
from tests.workers.repositories import (
    finish,
    following,
    git,
    make_job,
    make_origin,
    names,
    prepare,
    stored_diffs,
    write,
)
from workers.errors import EngineError, Interrupted
from workers.job import Host, Job, Limits
from workers.processes.lifeline import Lifeline
from workers.workspace.workspace import Workspace

FILES: dict[str, str | bytes] = {"file": "one\n", "folder/inside": "x\n", ".gitignore": "ignored\n"}
WAYS = pytest.mark.parametrize("diff_limits", [None, Limits()], ids=["all", "what fits"])


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", FILES)


@WAYS
def test_pipes_that_git_would_read_block_nothing(workspace: Workspace, diff_limits: Limits | None) -> None:
    for name in (".gitattributes", ".gitignore", ".gitmodules", "folder/.gitattributes"):
        path = workspace.checkout / name
        content = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        write(workspace.checkout, {"file": f"{name}\n", "new": "x\n"})
        found = names(workspace, workspace.snapshot(diff_limits))
        assert found == {*FILES, "new"} - {name}
        path.unlink()
        if content is not None:
            path.write_bytes(content)


@WAYS
def test_names_that_git_refuses_are_left_out_and_named(workspace: Workspace, diff_limits: Limits | None) -> None:
    refused = [".GIT", "git~1", "folder/.Git.", "a\\.git", "GIT~1::$INDEX_ALLOCATION", "\ufeff.g\u200cIt"]
    write(workspace.checkout, {f"{name}/config": "[core]\n" for name in refused})
    write(workspace.checkout, {"a": "x\n", "z": "x\n"})
    assert names(workspace, workspace.snapshot(diff_limits)) == {*FILES, "a", "z"}
    assert sorted(workspace.left_out) == sorted(refused)
    assert all((workspace.checkout / name / "config").exists() for name in refused)


def test_a_list_of_submodules_that_is_a_link_is_left_out_and_named(workspace: Workspace) -> None:
    (workspace.checkout / ".gitmodules").symlink_to("file")
    (workspace.checkout / "gitmod~1").symlink_to("file")
    (workspace.checkout / ".gitmod\u200cules").symlink_to("file")
    assert names(workspace, workspace.snapshot()) == FILES.keys()
    assert sorted(workspace.left_out) == [".gitmodules", ".gitmod\u200cules", "gitmod~1"]


# Time


@pytest.fixture
def stuck(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in git's place that begins and never ends; the file that tells of it."""
    began = tmp_path / "began"
    write(tmp_path, {"programs/git": f'#!/bin/sh\necho >> "{began}"\nexec sleep 300\n'})
    (tmp_path / "programs/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/programs{os.pathsep}{os.environ['PATH']}")
    return began


@pytest.mark.usefixtures("stuck")
@WAYS
def test_saving_ends_at_its_deadline(
    workspace: Workspace, diff_limits: Limits | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.workspace.workspace._SAVING_SECONDS", 0.5)
    workspace.begin_saving()
    with pytest.raises(EngineError) as caught:
        workspace.snapshot(diff_limits)
    assert (caught.value.code, caught.value.stage) == ("snapshot_failed", "diff")


@WAYS
def test_a_stop_ends_saving(workspace: Workspace, stuck: Path, diff_limits: Limits | None) -> None:
    lifeline = Lifeline(600)
    workspace.begin_saving(lifeline)

    def stop() -> None:
        eventually(stuck.exists, "nothing to stop")
        lifeline.cut()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(Interrupted):
        workspace.snapshot(diff_limits)
    stopper.join()


# How much of git it takes


@pytest.fixture
def count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with one line for each git that was started."""
    log = tmp_path / "log"
    real = git(tmp_path, "--exec-path") + "/git"
    write(tmp_path, {"programs/git": f'#!/bin/sh\nPATH="${{PATH#*:}}"\necho "$*" >> "{log}"\nexec "{real}" "$@"\n'})
    (tmp_path / "programs/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/programs{os.pathsep}{os.environ['PATH']}")
    return log


@pytest.mark.parametrize("files", usual([100, 600, 3]))
@pytest.mark.parametrize("is_follow_up", [False, True])
def test_a_session_takes_few_commands_however_much_there_is(
    host: Host, job: Job, count: Path, files: int, is_follow_up: bool
) -> None:
    """All that runs for a session after the first one on its base: to prepare it, and to save its work."""
    workspace = prepare(job, host)
    write(workspace.checkout, {"earlier": "x\n"})
    finish(workspace, job)
    base = workspace.base_sha
    job = following(job, 2, base_sha=base) if is_follow_up else make_job(job.repo_url, attempt=2, base_sha=base)
    count.unlink()
    workspace = prepare(job, host)
    workspace.after_setup(has_run=False)
    prepared = count.read_text().splitlines()
    assert len(prepared) <= (5 if is_follow_up else 1), prepared
    write(workspace.checkout, {f"new/{number // 20}/{number}": f"{number}\n" * 1000 for number in range(files)})
    count.unlink()
    finish(workspace, job)
    saved = count.read_text().splitlines()
    assert len(saved) <= 4, saved
    assert stored_diffs(job)["result"].count(b"diff --git") == files
