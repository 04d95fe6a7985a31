"""Diffs for which there is not time enough: what they lack is named, and they are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from app.redaction.secrets import Secrets
from tests.workers.engine import linux
from tests.workers.repositories import Sink, applied, make_host, make_job, make_origin, prepare, stored_diffs, write
from workers.job import Host
from workers.workspace import diffs


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", {"text": "line\n" * 100})


@pytest.fixture
def host(origin: Path, tmp_path: Path) -> Host:
    return make_host(tmp_path / "work", local_repositories=origin.parent)


@linux
def test_a_comparison_that_takes_for_ever_is_made_without_renames(
    host: Host, origin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program in git's place is busy for ever when it is to find renames."""
    busy = f"""#!/bin/sh
        case "$*" in *--find-renames*) while :; do :; done;; esac
        exec "{shutil.which("git")}" "$@"
    """
    write(tmp_path, {"programs/git": busy})
    (tmp_path / "programs/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/programs{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(diffs, "_CPU_SECONDS", 1)
    job = make_job(origin)
    workspace = prepare(job, host)
    (workspace.checkout / "text").rename(workspace.checkout / "renamed")
    (workspace.checkout / "long").write_text("line\n" * 50_000)
    workspace.begin_saving()
    tree = workspace.snapshot()
    written = diffs.write_diffs(workspace, job, tree)
    assert written.result and written.is_rough
    diff = stored_diffs(job)["result"]
    assert b"rename from" not in diff and b"deleted file" in diff and b"GIT binary patch" in diff
    assert applied(origin, workspace.base_sha, diff) == tree


class NoTime(Secrets):
    """The time for saving ends while content is read."""

    def are_in(self, chunks: Iterable[bytes]) -> bool:
        raise TimeoutError


def test_a_diff_that_there_was_no_time_to_search_is_kept_and_not_published(host: Host, origin: Path) -> None:
    job = make_job(origin, secrets=NoTime(None, {}))
    workspace = prepare(job, host)
    write(workspace.checkout, {"text": "changed\n"})
    written = diffs.write_diffs(workspace, job, workspace.snapshot())
    assert written.is_unsearched and not written.contains_secret
    assert isinstance(job.sink, Sink) and job.sink.contains_secret and stored_diffs(job)["result"]
