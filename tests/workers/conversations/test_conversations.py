"""The conversation goes on in a follow-up, on another worker, whatever the agent did to the files that it remembers by."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.attempts import Attempt, Engine, engine_in
from tests.workers.engine import IS_ROOT, USUAL_SANDBOX
from workers.events import Step
from workers.job import Conversation, ConversationLost, Job, Limits

RESUMED, IN_WORDS, NOT_KEPT = (
    "The conversation is resumed",
    "The earlier conversation was handed over in words",
    "The conversation was not kept",
)
SESSION = (
    """echo '{"type": "session", "id": "mine-1"}'\nmkdir -p ~/.agent-runners/session; cd ~/.agent-runners/session\n"""
)
REMEMBER = SESSION + "echo blue > colour"
TELL = SESSION + 'cat * > "$OLDPWD/received"; cat >> "$OLDPWD/received"'
WORDS = "You were told earlier: red.\n"
SANDBOX = USUAL_SANDBOX[0] if isinstance(USUAL_SANDBOX[0], str) else "bubblewrap"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path, SANDBOX) as engine:
        yield engine


@pytest.fixture(scope="module")
def remembered(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a session of `REMEMBER` stores."""
    with engine_in(tmp_path_factory.mktemp("remembered"), SANDBOX) as engine:
        engine.run(REMEMBER, agent="scripted")
        assert engine.sink.conversation
        return engine.sink.conversation


def follow(engine: Engine, script: str = TELL, **changes: object) -> Attempt:
    """A follow-up with what the engine stored, on another worker."""
    engine.host = dataclasses.replace(engine.host, work_dir=engine.host.work_dir.with_name("other-work"))
    stored, engine.sink.conversation = engine.sink.conversation, None
    given = {"session_id": "mine-1", "state": lambda: iter([stored]), **changes}
    return engine.run(script, agent="scripted", conversation=Conversation(lambda: WORDS, **given))


def message_of(attempt: Attempt, title: str) -> str:
    return next(event.message for event in attempt.events if isinstance(event, Step) and event.title == title)


def test_a_follow_up_on_another_worker_remembers(engine: Engine) -> None:
    first = engine.run(REMEMBER, agent="scripted")
    assert first.outcome.session_id == "mine-1" and not {RESUMED, IN_WORDS, NOT_KEPT} & {*first.steps}
    second = follow(engine, TELL + "; echo green > colour")
    assert second.outcome.failure is None, second.outcome.failure
    assert "+blue" in engine.diff and "red" not in engine.diff
    assert RESUMED in second.steps and IN_WORDS not in second.steps
    assert follow(engine).outcome.session_id == "mine-1"
    assert "+green" in engine.diff


def test_an_attempt_that_failed_or_was_stopped_is_remembered_too(engine: Engine) -> None:
    failed = engine.run(REMEMBER + "; exit 3", agent="scripted")
    assert failed.outcome.failure and failed.outcome.session_id == "mine-1"
    assert RESUMED in follow(engine).steps and "+blue" in engine.diff


@pytest.mark.parametrize("changes", [{"state": None}, {"session_id": None}])
def test_without_what_it_remembers_it_gets_words(engine: Engine, remembered: bytes, changes: dict[str, object]) -> None:
    engine.sink.conversation = remembered
    attempt = follow(engine, SESSION + 'cat > "$OLDPWD/received"', reason="Another agent had it.", **changes)
    assert "+You were told earlier: red." in engine.diff and "blue" not in engine.diff
    assert message_of(attempt, IN_WORDS) == "Another agent had it."


def test_what_is_lost_is_replaced_by_words(engine: Engine, remembered: bytes) -> None:
    engine.sink.conversation = remembered

    def lost() -> Iterator[bytes]:
        raise ConversationLost("It is missing.")
        yield b""

    attempt = follow(engine, SESSION + 'cat > "$OLDPWD/received"', state=lost)
    assert message_of(attempt, IN_WORDS) == "It is missing." and "+You were told" in engine.diff


def test_an_agent_that_cannot_resume_runs_again_with_words(engine: Engine, remembered: bytes) -> None:
    engine.sink.conversation = remembered
    refuses = "if [ -e ~/.agent-runners/session/colour ]; then echo too old; exit 1; fi\n" + SESSION
    attempt = follow(engine, refuses + 'cat > "$OLDPWD/received"')
    assert attempt.outcome.failure is None and "+You were told" in engine.diff
    assert attempt.steps.index(RESUMED) < attempt.steps.index(IN_WORDS)
    assert "too old" in message_of(attempt, IN_WORDS)


def test_one_that_fails_later_does_not_run_again(engine: Engine, remembered: bytes) -> None:
    engine.sink.conversation = remembered
    attempt = follow(engine, SESSION + 'echo once >> "$OLDPWD/runs"; exit 1')
    assert attempt.outcome.failure and attempt.outcome.failure.code == "agent_failed"
    assert engine.diff.count("+once") == 1 and IN_WORDS not in attempt.steps


def test_a_script_is_told_nothing(engine: Engine) -> None:
    attempt = engine.run("cat > received", conversation=Conversation(lambda: WORDS))
    assert IN_WORDS not in attempt.steps and "+You" not in engine.diff


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo $SECRET_KEY | base64 > seen", "contains a known secret"),
        ("cd; mv .agent-runners gone; ln -s /etc .agent-runners", "left no files"),
    ],
)
def test_what_cannot_be_kept_is_named_in_a_step(engine: Engine, script: str, reason: str) -> None:
    secret = {"SECRET_KEY": "hunter2-hunter2-hunter2"}
    attempt = engine.run(SESSION + script, agent="scripted", environment=secret)
    assert attempt.outcome.failure is None, attempt.outcome.failure
    assert reason in message_of(attempt, NOT_KEPT)
    assert engine.sink.conversation is None and attempt.outcome.session_id is None


@pytest.mark.parametrize("name", ["../../x", "hunter2-hunter2-hunter2"])
def test_an_id_that_cannot_be_used_is_not_stored(engine: Engine, name: str) -> None:
    script = REMEMBER.replace("mine-1", name)
    attempt = engine.run(script, agent="scripted", environment={"SECRET_KEY": "hunter2-hunter2-hunter2"})
    assert NOT_KEPT in attempt.steps and attempt.outcome.session_id is None and engine.sink.conversation is None


def test_nothing_is_kept_where_the_operator_wants_none(engine: Engine) -> None:
    attempt = engine.run(REMEMBER, agent="scripted", limits=Limits(max_conversation_bytes=0))
    assert attempt.outcome.session_id is None and engine.sink.conversation is None and NOT_KEPT not in attempt.steps


def test_of_a_damaged_archive_nothing_is_used(engine: Engine, remembered: bytes) -> None:
    engine.sink.conversation = remembered
    attempt = follow(
        engine, SESSION + 'ls -A . > "$OLDPWD/received"; cat >> "$OLDPWD/received"', state=lambda: iter([b"no archive"])
    )
    assert "archive is damaged" in message_of(attempt, IN_WORDS) and RESUMED not in attempt.steps
    assert "+You were told" in engine.diff and "colour" not in engine.diff


def test_links_that_setup_left_are_not_followed(engine: Engine, remembered: bytes, tmp_path: Path) -> None:
    engine.sink.conversation = remembered
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    job: Job = engine.job(
        "true",
        agent="scripted",
        setup_command=f"rm -rf ~/.agent-runners/session; ln -s {outside} ~/.agent-runners/session",
        conversation=Conversation(lambda: WORDS, "mine-1", lambda: iter([remembered])),
        allow_agent_configuration=True,
    )
    attempt = engine.finish(job)
    assert IN_WORDS in attempt.steps and RESUMED not in attempt.steps
    assert list(outside.iterdir()) == []


@pytest.mark.skipif(
    not IS_ROOT, reason="NOT TESTED: only root has another owner for the agent's files; run the tests as root"
)
def test_restored_files_belong_to_the_agent(engine: Engine) -> None:
    engine.run(REMEMBER + "; mkdir deep; echo x > deep/file", agent="scripted")
    attempt = follow(
        engine, SESSION + "echo more >> deep/file; echo x > deep/new; stat -c %a colour > $OLDPWD/received"
    )
    assert attempt.outcome.failure is None and "+600" in engine.diff
