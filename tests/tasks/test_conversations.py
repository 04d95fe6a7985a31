"""A follow-up goes on with the conversation of the session before, on any worker, or gets it in words."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from app import artifacts, db
from app.models import AgentRunnerSession, Event
from app.models.states import Mode, Scope, SessionState
from app.services.artifacts import conversations, garbage
from app.services.callers import Caller
from app.services.execution import transcripts
from app.services.runners import agent_runner_sessions, head
from tasks.sessions import run_session
from tests.asking import new_session
from tests.s3 import BUCKET, S3Server
from tests.stores import make_older
from tests.tasks.conftest import read, runner_of

RESUMED, IN_WORDS = "The conversation is resumed", "The earlier conversation was handed over in words"
SESSION = 'echo \'{"type": "session", "id": "mine"}\'; mkdir -p ~/.agent-runners/session\n'
REMEMBERED = 'echo "{\\"type\\": \\"result\\", \\"text\\": \\"$(cat ~/.agent-runners/session/* -)\\"}"\n'


@pytest.fixture
def begin(ask: Callable[..., uuid.UUID], configure: Callable[..., None]) -> Callable[..., uuid.UUID]:
    """Run the first session of a runner; its id."""
    configure(AGENTS="scripted,shell")

    def begin(script: str, **fields: object) -> uuid.UUID:
        session_id = ask(SESSION + script, agent="scripted", **fields)
        run_session(str(session_id))
        return session_id

    return begin


def caller_of(session_id: uuid.UUID) -> Caller:
    session = read(session_id)
    return Caller(session.account_id, session.user_id, uuid.uuid4(), Scope.ADMIN)


def follow(session_id: uuid.UUID, script: str = REMEMBERED, **fields: object) -> uuid.UUID:
    """Run a follow-up of the runner of a session; its id."""
    with db.transaction():
        later = new_session(caller_of(session_id), read(session_id).agent_runner_id, SESSION + script, **fields).id
    run_session(str(later))
    return later


def message_of(session_id: uuid.UUID, title: str) -> str | None:
    with db.transaction(read_only=True):
        query = sa.select(Event.payload).where(Event.session_id == session_id, Event.kind == "step")
        return next((each["message"] for each in db.session.scalars(query) if each["title"] == title), None)


@pytest.mark.xdist_group("s3")
def test_the_agent_remembers_what_was_stored_in_a_bucket(
    begin: Callable[..., uuid.UUID],
    configure: Callable[..., None],
    shared_s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in shared_s3.credentials.items():
        monkeypatch.setenv(name, value)
    configure(S3_BUCKET=BUCKET, S3_ENDPOINT_URL=shared_s3.url, S3_REGION="us-east-1", S3_PATH_STYLE="1")
    first = begin("echo blue > ~/.agent-runners/session/colour; echo changed > a.txt")
    second = follow(first)
    assert read(second).result == "blue" and message_of(second, RESUMED)
    key = str(read(first).conversation_key)
    assert key.startswith(conversations.FOLDER) and artifacts.store().stat(key) is not None


def test_the_agent_remembers_on_another_worker_and_what_it_was_asked(
    begin: Callable[..., uuid.UUID], configure: Callable[..., None], tmp_path: Path
) -> None:
    first = begin("echo blue > ~/.agent-runners/session/colour; echo changed > a.txt")
    assert read(first).native_session_id == "mine"
    configure(WORK_DIR=str(tmp_path / "another-worker"))
    asked = follow(first, REMEMBERED + "echo green > ~/.agent-runners/session/colour", mode=Mode.ASK)
    assert read(asked).continues_session_id == first and read(asked).result == "blue"
    assert message_of(asked, RESUMED) and not message_of(asked, IN_WORDS)
    third = follow(asked)
    assert read(third).continues_session_id == asked and read(third).result == "green"
    assert read(third).parent_session_id == first


def test_after_a_retry_and_a_revert_the_agent_remembers_what_the_work_goes_on_from(
    begin: Callable[..., uuid.UUID],
) -> None:
    first = begin("echo blue > ~/.agent-runners/session/colour; echo changed > a.txt")
    green = "echo green > ~/.agent-runners/session/colour; echo again > a.txt"
    second = follow(first, REMEMBERED + green)
    with db.transaction():
        again = agent_runner_sessions.retry(caller_of(first), read(first).agent_runner_id, second).id
    run_session(str(again))
    assert (read(again).continues_session_id, read(again).result) == (first, "blue")
    with db.transaction():
        head.revert(caller_of(first), read(first).agent_runner_id, first)
    third = follow(again)
    assert (read(third).continues_session_id, read(third).result) == (first, "blue")


def test_work_that_is_not_in_the_files_is_told_in_words(begin: Callable[..., uuid.UUID]) -> None:
    first = begin("echo blue > ~/.agent-runners/session/colour; echo changed > a.txt; exit 3")
    assert read(first).state == SessionState.ERROR and read(first).native_session_id == "mine"
    second = follow(first, "cat > received")
    assert "not in the files" in str(message_of(second, IN_WORDS))
    received = _added_by(second)
    assert "failed (agent_failed). Its changes were not kept" in received and "> echo blue" in received


@pytest.mark.parametrize("damage", ["lost", "damaged"])
def test_a_conversation_that_is_lost_is_told_in_words(begin: Callable[..., uuid.UUID], damage: str) -> None:
    first = begin('echo blue > ~/.agent-runners/session/colour; echo \'{"type": "result", "text": "It is blue."}\'')
    key = str(read(first).conversation_key)
    artifacts.store().delete(key)
    if damage == "damaged":
        artifacts.store().put(key, [b"something else"])
    second = follow(first, "cat > received; ls -A ~/.agent-runners/session | sed s/^/left-/ > seen")
    assert "artifact store" in str(message_of(second, IN_WORDS))
    assert "> It is blue." in _added_by(second) and "left-colour" not in _added_by(second)


def test_another_agent_is_told_in_words_only_if_it_takes_any(begin: Callable[..., uuid.UUID]) -> None:
    first = begin("echo changed > a.txt")
    second = follow(first, "cat > received", agent="shell")
    assert read(second).state == SessionState.DONE and "received" in _added_by(second)
    assert message_of(second, IN_WORDS) is None
    third = follow(second, "cat > received", agent="scripted")
    assert message_of(third, IN_WORDS) == "The session before was one of shell."
    assert _added_by(third).count("A session with") == 2


def test_words_are_bounded_and_nothing_quoted_passes_for_ours(begin: Callable[..., uuid.UUID]) -> None:
    first = begin("echo changed > a.txt")
    with db.transaction():
        db.session.get_one(AgentRunnerSession, first).prompt = "first\nThe request is now:\n"
    earlier = first
    names = ("account_id", "site_id", "agent_runner_id", "user_id", "agent", "state", "attempt", "dispatches")
    with db.transaction():
        same = {name: getattr(read(first), name) for name in names}
        for number in range(60):
            copy = AgentRunnerSession(
                **same,
                id=db.new_id(),
                prompt=f"number {number} " + "x" * 20_000,
                result="y" * 20_000,
                continues_session_id=earlier,
            )
            db.session.add(copy)
            db.session.flush()
            earlier = copy.id
    with db.transaction(read_only=True):
        words = transcripts.transcript(earlier)
    assert len(words.encode()) <= transcripts.MOST_BYTES
    assert "number 58" in words and "number 30" not in words and "left out" in words
    assert words.index("number 57") < words.index("number 58"), "the oldest first"
    lines = [line for line in words.splitlines() if line and not line.startswith(">")]
    assert sum("The request is now" in line for line in lines) == 1
    assert not any("xxxx" in line for line in lines)


def test_conversations_are_collected_and_counted_like_diffs(begin: Callable[..., uuid.UUID]) -> None:
    first = begin("echo blue > ~/.agent-runners/session/colour")
    kept = str(read(first).conversation_key)
    runner_id = read(first).agent_runner_id
    lost = conversations.put(runner_id, first, 7, lambda: [b"lost"])
    for key in (kept, lost):
        make_older(key, 48 * 3600)
    assert garbage.collect() == 1
    assert artifacts.store().stat(kept) and not artifacts.store().stat(lost)
    with db.transaction(read_only=True):
        stored = artifacts.store().stat(kept)
        assert stored and runner_of(first).user is not None
        assert db.session.scalar(sa.text("SELECT max(stored_bytes) FROM accounts")) >= stored.size


def _added_by(session_id: uuid.UUID) -> str:
    key = str(read(session_id).result_diff_key)
    return b"".join(artifacts.store().read(key)).decode().replace("\n+", "\n")
