"""Sessions that are done although no engine has run them, for tests of what comes after them.

The script of the prompt runs in a plain folder, and what came of it is recorded as the task records it. This costs a tenth
of a run, which fetches, makes a sandbox and a supervisor, and verifies its diffs.
"""

from __future__ import annotations

import dataclasses
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from app import db
from app.models.states import SessionState
from app.services.execution import session_attempts
from app.services.execution.outcomes import Outcome
from tasks.attempts.reporter import record
from tasks.jobs.artifact_io import StoredWork
from tasks.jobs.host import this_host
from tasks.sessions import run_session
from tests.workers.partial import mirror_of
from tests.workers.repositories import ENVIRONMENT, write
from workers.events import BaseCommit
from workers.job import DiffKind

Files = dict[str, str | bytes]
_BRANCH = "main"
_files_of: dict[str, Files] = {}
"""What the files are with the cumulative diff of that key."""


def end_session(session_id: uuid.UUID, repository: Path | None = None, *, runs: bool = False) -> None:
    """Have a session done: recorded, or by the engine if that `runs` it."""
    if runs:
        run_session(str(session_id))
    else:
        record_run(session_id, repository)


def record_run(session_id: uuid.UUID, repository: Path | None = None) -> None:
    """Run the script of a session of a small repository (default: that of the site, which is a folder).

    It starts from what this function recorded as the work of the runner, or else from the tip of `main`.
    """
    with db.transaction():
        claim = session_attempts.claim(session_id, "recorded")
        assert claim is not None and claim.session.id == session_id
        runner, origin = claim.runner, repository or Path(claim.site.repo_url)
        base_sha, base = _read(origin, runner.base_sha or _BRANCH)
        record(claim, [BaseCommit(base_sha, _BRANCH, _BRANCH)])
    _leave_mirror(mirror_of(this_host(), str(claim.site.id)), origin, base_sha)
    before = _files_of[runner.diff_key] if runner.diff_key else base
    after, said = _run(claim.session.prompt, before)
    sink = StoredWork(claim)
    of_both: Sequence[tuple[Sequence[DiffKind], Files]] = [(["result"], before), (["cumulative"], base)]
    of_first: Sequence[tuple[Sequence[DiffKind], Files]] = [(["result", "cumulative"], base)]
    for kinds, start in of_first if before == base else of_both:
        if diff := _diff(start, after):
            sink.write(kinds, [diff], contains_secret=False)
    if key := sink.work.cumulative_diff_key:
        _files_of[key] = after
    work = dataclasses.replace(sink.work, base_sha=base_sha, is_all=True)
    with db.transaction():
        session_attempts.finish(session_id, claim.attempt, SessionState.DONE, Outcome(work, said))


def _read(repository: Path, commit: str) -> tuple[str, Files]:
    """The id and the files of a commit."""
    command = ["git", "-c", "safe.directory=*", "archive", commit]
    done = subprocess.run(command, cwd=repository, env=ENVIRONMENT, stdout=subprocess.PIPE, check=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        opened = {each.name: archive.extractfile(each) for each in archive}
        # Git notes there which commit it is.
        return archive.pax_headers["comment"], {name: file.read() for name, file in opened.items() if file}


def _leave_mirror(mirror: Path, repository: Path, base_sha: str) -> None:
    """Leave what the fetch of a session leaves: its base, with the objects of the repository."""
    kept = mirror / "refs" / "base" / base_sha
    if not kept.exists():
        source = repository / ".git" if (repository / ".git").exists() else repository
        shutil.copytree(source / "objects", mirror / "objects", copy_function=_copy_once, dirs_exist_ok=True)
        shutil.copyfile(source / "HEAD", mirror / "HEAD")
        config = (source / "config").read_text()
        (mirror / "config").write_text(config.replace("bare = false", "bare = true"))
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(f"{base_sha}\n")


def _copy_once(source: str, target: str) -> None:
    """Objects may not be written to, and never change."""
    if not os.path.exists(target):
        shutil.copy2(source, target)


def _run(script: str, files: Files) -> tuple[Files, str | None]:
    """The files that a script leaves, and the last line that it prints."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder, files)
        done = subprocess.run(["sh", "-ec", script], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        left: Files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return left, next(reversed(done.stdout.split("\n")[:-1]), None)


def _diff(before: Files, after: Files) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        for name, files in (("a", before), ("b", after)):
            Path(place, name).mkdir()
            write(Path(place, name), files)
        options = ("--no-index", "--binary", "--full-index", "--no-prefix", "--no-renames")
        made = subprocess.run(["git", "diff", *options, "a", "b"], cwd=place, env=ENVIRONMENT, capture_output=True)
    # As with diff(1), 1 says that they differ.
    assert made.returncode in (0, 1), made.stderr
    # Git names a file that is only on one side by that side twice.
    return re.sub(rb"^diff --git [ab]/(.+) [ab]/\1$", rb"diff --git a/\1 b/\1", made.stdout, flags=re.MULTILINE)
