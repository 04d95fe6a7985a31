"""A store whose answers break off in the middle, and one whose folder is not mounted."""

from __future__ import annotations

import contextlib
import math
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app import artifacts, db
from app.config import settings
from app.models.states import PublicationState, SessionState
from app.services.artifacts import diff_index, diffs, uploads
from tasks.jobs import artifact_io
from tasks.publications import publish
from tasks.sessions import run_session
from tests.s3 import Breaking, S3Server, breaking
from tests.tasks.conftest import read
from tests.tasks.recorded import record_run
from tests.tasks.test_publishing import commit, follow_up, newest
from tests.workers.repositories import git
from workers.errors import EngineError

pytestmark = pytest.mark.xdist_group("s3")
AFTER = 300_000
"""More than one piece that the store is read in, and less than two."""
CONTENT = bytes(range(256)) * 2_600
LONG = "seq -f %0300.0f 1 1400 > a.txt"


@pytest.fixture
def broken(shared_s3: S3Server, configured: pytest.MonkeyPatch, configure: Callable[..., None]) -> Iterator[Breaking]:
    """The deployment's store, which breaks off as many long answers as the test says."""
    for name, value in shared_s3.credentials.items():
        configured.setenv(name, value)
    configured.setattr(artifact_io, "RETRY_SECONDS", 0.05)
    with breaking(shared_s3, AFTER) as broken:
        configure(**{**shared_s3.settings, "S3_ENDPOINT_URL": broken.url})
        yield broken


def test_a_read_that_breaks_again_and_again_comes_to_its_end(broken: Breaking) -> None:
    key = f"{uploads.PREFIX}/{uuid.uuid4()}"
    artifacts.store().put(key, [CONTENT])
    broken.times = math.inf
    assert b"".join(artifact_io.file_reader(key)()) == CONTENT


def test_a_read_that_stays_broken_ends_with_a_code_of_its_own(broken: Breaking, configure: Callable[..., None]) -> None:
    key = f"{uploads.PREFIX}/{uuid.uuid4()}"
    artifacts.store().put(key, [CONTENT])
    configure(UPLOAD_PATIENCE_SECONDS="0")
    broken.times = 1
    with pytest.raises(EngineError) as failure:
        b"".join(artifact_io.file_reader(key)())
    assert (failure.value.code, failure.value.retryable) == ("artifact_store_unavailable", True)


def test_a_session_outlives_a_diff_and_a_file_that_break_off(ask: Callable[..., uuid.UUID], broken: Breaking) -> None:
    first = ask(LONG)
    record_run(first)
    file_key = f"{uploads.PREFIX}/{read(first).account_id}/{uuid.uuid4()}/long"
    artifacts.store().put(file_key, [CONTENT])
    broken.times = 3
    second = follow_up(first, "echo more > b.txt", file_keys=[file_key])
    assert read(second).state == SessionState.DONE, read(second).failure
    assert broken.times == 0


def test_a_publication_whose_diff_breaks_off_is_tried_again(
    ask: Callable[..., uuid.UUID], broken: Breaking, configure: Callable[..., None]
) -> None:
    session_id = ask(LONG)
    record_run(session_id)
    configure(UPLOAD_PATIENCE_SECONDS="0")
    broken.times = 1
    publication = commit(session_id, target_branch="notes")
    assert (publication.state, publication.error) == (PublicationState.PENDING, None)
    publish(str(publication.id))
    with db.transaction():
        assert newest(session_id).state == PublicationState.DONE


def test_a_folder_that_is_not_mounted_is_waited_for_and_then_named(
    ask: Callable[..., uuid.UUID], configure: Callable[..., None]
) -> None:
    session_id = ask("echo changed > a.txt")
    configure(UPLOAD_PATIENCE_SECONDS="0")
    with not_mounted():
        run_session(str(session_id))
    session = read(session_id)
    assert (session.state, session.failure["code"]) == (SessionState.ERROR, "artifact_store_unavailable")
    assert "AGENT_RUNNERS_ARTIFACTS_DIR" in session.failure["message"]


def test_a_publication_whose_diff_is_not_mounted_is_tried_again(
    ask: Callable[..., uuid.UUID], configure: Callable[..., None]
) -> None:
    session_id = ask("echo changed > a.txt")
    record_run(session_id)
    configure(UPLOAD_PATIENCE_SECONDS="0")
    with not_mounted():
        publication = commit(session_id, target_branch="notes")
        assert (publication.state, publication.error) == (PublicationState.PENDING, None)
    publish(str(publication.id))
    with db.transaction():
        assert newest(session_id).state == PublicationState.DONE


def test_a_diff_of_both_kinds_is_stored_once(ask: Callable[..., uuid.UUID]) -> None:
    """Of the first session of a runner. Both columns refer to it, so it is kept as long as one of them does."""
    first = ask("echo changed > a.txt")
    run_session(str(first))
    second = follow_up(first, "echo more > c.txt")
    work = read(first)
    assert work.result_diff_key == work.cumulative_diff_key != read(second).result_diff_key
    assert len({read(second).result_diff_key, read(second).cumulative_diff_key}) == 2
    for folder in (diffs.SESSIONS, f"{diff_index.FOLDER}/{diffs.SESSIONS}"):
        assert len(list(artifacts.store().list(f"{folder}/{work.agent_runner_id}/{first}/"))) == 1


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut off": lambda content: content[: len(content) // 2],
    "a flipped bit": lambda content: content.replace(b"+changed", b"+chanfed"),
}


def test_nothing_is_built_on_a_damaged_diff_or_published_from_it(ask: Callable[..., uuid.UUID], tmp_path: Path) -> None:
    first = ask("echo changed > a.txt; echo more > b.txt")
    record_run(first)
    key = read(first).cumulative_diff_key
    assert key is not None and key == read(first).result_diff_key
    path = settings().artifacts / key
    whole = path.read_bytes()
    for kind in (*DAMAGE, "missing"):
        path.write_bytes(DAMAGE[kind](whole)) if kind in DAMAGE else path.unlink()
        code = "artifact_damaged" if kind in DAMAGE else "diff_gone"
        publication = commit(first, target_branch="x")
        assert publication.state == PublicationState.FAILED and "backup" in publication.error, kind
        assert git(tmp_path / "origin", "branch", "--list", "x") == ""
        second = read(follow_up(first, "echo more > c.txt"))
        assert (second.state, second.failure["code"]) == (SessionState.ERROR, code), kind


def test_a_missing_file_is_named(ask: Callable[..., uuid.UUID]) -> None:
    with pytest.raises(EngineError) as failure:
        list(artifact_io.file_reader(f"{uploads.PREFIX}/{uuid.uuid4()}")())
    assert failure.value.code == "file_gone"


@contextlib.contextmanager
def not_mounted() -> Iterator[None]:
    """An empty folder in the place of the store."""
    folder = settings().artifacts
    elsewhere = folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()
    yield
    folder.rmdir()
    elsewhere.rename(folder)
