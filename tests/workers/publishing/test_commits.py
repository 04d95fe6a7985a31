"""The throw-away directories of publications."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workers.publishing.publication import publication
from tests.workers.repositories import fetch_base, git, make_host, make_job, make_origin, write
from workers.errors import EngineError
from workers.job import Host
from workers.processes.lifeline import Lifeline
from workers.publishing.commits import temporary_repository
from workers.publishing.publish import publish
from workers.repository.contents import Contents
from workers.repository.git import Git

HOLDING = """
import sys, time
from pathlib import Path
from workers.publishing.commits import temporary_repository
from workers.repository.contents import Contents
from workers.repository.git import Git
from workers.job import Host
from workers.processes.lifeline import Lifeline
contents = Contents(Git(Path(sys.argv[1], "mirror")), print)
with temporary_repository(Host(Path(sys.argv[1])), contents, (), Lifeline(600)) as commits:
    print(commits.git.directory, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_worker_left_goes_with_the_next_publication_and_what_is_in_use_stays(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "mirror")
    with (
        subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE, text=True) as dying,
        subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE, text=True) as living,
    ):
        try:
            left, used = (Path(each.stdout.readline().strip()) for each in (dying, living) if each.stdout)
            dying.send_signal(signal.SIGKILL)
            dying.wait()
            an_hour_ago = time.time() - 3600
            for directory in (left, used):
                os.utime(directory, (an_hour_ago, an_hour_ago))
            contents = Contents(Git(tmp_path / "mirror"), print)
            with temporary_repository(Host(tmp_path), contents, (), Lifeline(600)) as commits:
                assert commits.git.directory.exists()
                assert not left.exists() and used.exists()
        finally:
            living.kill()


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Which commands of git were started on a directory of ours since the last call."""
    log = tmp_path / "log"
    real = git(tmp_path, "--exec-path") + "/git"
    write(tmp_path, {"programs/git": f'#!/bin/sh\nPATH="${{PATH#*:}}"\necho "$1 $2" >> "{log}"\nexec "{real}" "$@"\n'})
    (tmp_path / "programs/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/programs{os.pathsep}{os.environ['PATH']}")

    def read() -> list[str]:
        lines = log.read_text().splitlines()
        log.unlink()
        return [line.split()[1] for line in lines if line.startswith("--git-dir")]

    return read


def test_publishing_takes_one_command_for_each_session_and_two_for_the_push(
    tmp_path: Path, commands: Callable[[], list[str]]
) -> None:
    origin = make_origin(tmp_path / "origin", {"file": "one\n"})
    host = make_host(tmp_path / "work")
    base = fetch_base(host, make_job(origin))
    job = publication(origin, base, "new")
    second = b"diff --git a/file b/file\n--- a/file\n+++ b/file\n@@ -1 +1 @@\n-one\n+two\n"
    both = [b"".join(each.diff()) + second for each in job.changes]
    changes = (*job.changes, dataclasses.replace(job.last, diff=lambda: iter(both), message="Second"))
    git(origin, "branch", "there")
    commands()
    for branch in ("new", "there"):
        made = publish(dataclasses.replace(job, branch=branch, changes=changes), host)
        assert git(origin, "rev-parse", branch) == made.sha
        assert git(origin, "show", f"{branch}:file") == "two"
        assert sorted(commands()) == ["apply", "apply", "cat-file", "ls-remote", "push"]
    assert git(origin, "log", "--format=%s", f"{base}..there").splitlines() == ["Second", "Add a file"]


def test_a_forge_that_does_not_answer_a_push_ends_the_publication_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = make_origin(tmp_path / "origin", {"file": "one\n"})
    host = make_host(tmp_path / "work", fetch_timeout_seconds=60)
    base = fetch_base(host, make_job(origin))
    real = git(tmp_path, "--exec-path") + "/git"
    program = f'#!/bin/sh\ncase "$*" in *ls-remote*) exec sleep 100;; esac\nexec "{real}" "$@"\n'
    write(tmp_path, {"programs/git": program})
    (tmp_path / "programs/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/programs{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(EngineError) as caught:
        publish(publication(origin, base, "new"), dataclasses.replace(host, fetch_timeout_seconds=0.5))
    assert (caught.value.code, caught.value.stage, caught.value.retryable) == ("fetch_timeout", "publish", True)
