"""What is logged holds no secret and nothing that a terminal would obey."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog

from app.config import settings
from app.deployment_secrets import made_once, made_once_file
from app.logs import configure_logging
from app.redaction.secrets import Secrets, redacted_logs

SHAPE = "ghp" + "_" + "a1B2" * 9
KEY = "key-of-the-model-42"
TOKEN = "token-of-the-forge-17"


@pytest.fixture(autouse=True)
def other_tests_log_as_before() -> Iterator[None]:
    """Undo what a test here has configured, when its settings are undone."""
    yield
    configure_logging("test")
    settings.cache_clear()


@pytest.fixture
def configure_logs(configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def make(log_format: str) -> None:
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        configure(
            LOG_FORMAT=log_format,
            SECRET_KEY="the-key-of-it-all-which-is-long-enough",
            DATABASE_URL="postgresql://a:pass-word@b/c",
        )
        configure_logging("test")

    return make


class Odd:
    def __repr__(self) -> str:
        return f"Odd({KEY})"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_secret_gets_into_a_line(
    configure_logs: Callable[[str], None], log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(log_format)
    log = structlog.get_logger("one")
    with redacted_logs(Secrets(TOKEN, {"K": KEY})):
        log.info(f"event {SHAPE}", word=f"{TOKEN} {KEY}", nested={"list": [SHAPE, (KEY,)], KEY: 1}, odd=Odd())
        logging.getLogger("two").warning("arguments %s", TOKEN, extra={"more": {"deep": KEY}})
        try:
            local = KEY  # noqa: F841
            raise RuntimeError(f"{SHAPE} {TOKEN}")
        except RuntimeError:
            log.exception("broken")
            logging.getLogger("two").exception("broken too")
    logging.getLogger("two").error(
        "afterwards %s %s %s %s", SHAPE, KEY, "the-key-of-it-all-which-is-long-enough", "pass-word"
    )
    output = capsys.readouterr().err
    assert output.count("RuntimeError: [redacted] [redacted]") == 2 and "Odd([redacted])" in output
    assert not [
        secret
        for secret in (SHAPE, KEY, TOKEN, "the-key-of-it-all-which-is-long-enough", "pass-word")
        if secret in output
    ]
    assert "afterwards [redacted] [redacted] [redacted] [redacted]" in output


def test_numbers_and_null_are_unchanged(
    configure_logs: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("json")
    structlog.get_logger().info("event", number=1, share=0.5, yes=True, none=None, words=["a", {"b": 2}])
    line = json.loads(capsys.readouterr().err)
    assert [line[name] for name in ("number", "share", "yes", "none", "words")] == [1, 0.5, True, None, ["a", {"b": 2}]]


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_what_would_not_be_seen_is_escaped(
    configure_logs: Callable[[str], None], log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(log_format)
    hidden = "\x1b]0;gotcha\x07\x9b\u202e\u2066\u200b\u2028"
    structlog.get_logger().info(f"event{hidden}", word=hidden)
    output = capsys.readouterr().err
    assert "event" in output and not (set(hidden) - set("]0;gotcha")) & set(output)


def test_a_secret_that_was_made_after_the_start_of_a_process_gets_into_no_line(
    configure_logs: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("json")
    log = structlog.get_logger("one")
    log.info("there is no token yet")
    token = made_once(made_once_file(settings(), "metrics_token"), "token-of-prometheus")
    log.info("asked", by=token)
    assert capsys.readouterr().err.count("[redacted]") == 1


@pytest.mark.parametrize(("terminal", "shown_as_json"), [(False, True), (True, False)])
def test_a_terminal_gets_text_and_everything_else_json(
    configure_logs: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    shown_as_json: bool,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    configure_logs("auto")
    structlog.get_logger().info("event", word="here")
    output = capsys.readouterr().err
    assert "event" in output and output.startswith("{") is shown_as_json


@pytest.mark.parametrize(("level", "is_shown"), [("INFO", False), ("DEBUG", True)])
def test_celerys_line_for_each_message_is_debug_output(
    configure: Callable[..., None], capsys: pytest.CaptureFixture[str], level: str, is_shown: bool
) -> None:
    configure(LOG_LEVEL=level)
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    configure_logging("test")
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
        logging.getLogger(name).info("Task sweep.all received")
        logging.getLogger(name).error("Task sweep.all failed")
    output = capsys.readouterr().err
    assert ("received" in output) is is_shown and "failed" in output
