"""A diff that holds a known secret is stored as it is, and flagged, in whatever file the secret lies."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.workers.repositories import make_host, make_job, make_origin, prepare, stored_diffs, write
from workers.job import Job
from workers.workspace import diffs

TOKEN = "token-of-the-forge/17"
KEY = "key-of-the-model-42"


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", {"text": "one\ntwo\n", "held": f"old {TOKEN}\n"})


def finished(tmp_path: Path, job: Job, edit: Callable[[Path], None]) -> diffs.Written:
    workspace = prepare(job, make_host(tmp_path / "work", local_repositories=Path(job.repo_url).parent))
    edit(workspace.checkout)
    return diffs.write_diffs(workspace, job, workspace.snapshot())


def job_on(origin: Path, **settings: object) -> Job:
    return make_job(origin, credential=TOKEN, environment={"MODEL_KEY": KEY}, **settings)


def binary(secret: bytes) -> bytes:
    return b"\0\1\2" + os.urandom(100_000) + secret + os.urandom(100_000)


@pytest.mark.parametrize("secret", [TOKEN, KEY])
@pytest.mark.parametrize(
    "form",
    [
        str.encode,
        lambda secret: f"# {secret}".encode("utf-16"),
        lambda secret: base64.b64encode(f"x-access-token:{secret}".encode()),
        lambda secret: binary(secret.encode()),
        lambda secret: b"x" * (1 << 20) + secret.encode() + b"\n" + b"y" * (1 << 20),
    ],
    ids=["text", "utf-16", "base64", "binary", "long line"],
)
def test_a_secret_in_a_file_is_found(tmp_path: Path, origin: Path, secret: str, form: Callable[[str], bytes]) -> None:
    job = job_on(origin)
    written = finished(tmp_path, job, lambda checkout: write(checkout, {"new": form(secret)}))
    assert written == diffs.Written(True, True, True) and job.sink.contains_secret
    if form is str.encode:
        assert f"+{secret}".encode() in stored_diffs(job)["result"]


def test_a_secret_in_a_name_or_in_the_target_of_a_link_is_found(tmp_path: Path, origin: Path) -> None:
    assert finished(tmp_path / "1", job_on(origin), lambda at: write(at, {f"a/{KEY}/b": "x"})).contains_secret
    assert finished(tmp_path / "2", job_on(origin), lambda at: (at / "link").symlink_to(KEY)).contains_secret


def test_a_mode_change_does_not_hide_one(tmp_path: Path, origin: Path) -> None:
    assert finished(tmp_path, job_on(origin), lambda at: (at / "held").chmod(0o755)).contains_secret


def test_what_the_diff_leaves_alone_or_takes_away_does_not_count(tmp_path: Path, origin: Path) -> None:
    kept = finished(tmp_path / "1", job_on(origin), lambda at: write(at, {"text": "three\n"}))
    replaced = finished(tmp_path / "2", job_on(origin), lambda at: write(at, {"held": "nothing\n"}))
    removed = finished(tmp_path / "3", job_on(origin), lambda at: (at / "held").unlink())
    assert [kept, replaced, removed] == [diffs.Written(True, True)] * 3


def test_a_token_that_only_looks_like_one_does_not_count(tmp_path: Path, origin: Path) -> None:
    fake = "ghp" + "_" + "a1B2" * 9
    assert not finished(tmp_path, job_on(origin), lambda at: write(at, {"fixture": fake})).contains_secret


def test_a_follow_up_is_flagged_until_it_takes_the_secret_out(tmp_path: Path, origin: Path) -> None:
    first = job_on(origin)
    assert finished(tmp_path, first, lambda at: write(at, {"new": KEY})).contains_secret
    start = stored_diffs(first)["cumulative"]
    second = job_on(origin, session_id="second", start_diff=lambda: iter([start]))
    assert finished(tmp_path, second, lambda at: write(at, {"text": "other\n"})).contains_secret
    third = job_on(origin, session_id="third", start_diff=lambda: iter([start]))
    assert finished(tmp_path, third, lambda at: (at / "new").unlink()) == diffs.Written(True, False)
