"""Known secrets are redacted from everything that is stored, and its size is limited."""

from __future__ import annotations

import pytest

from app.redaction.secrets import Secrets
from workers.agents.plain_output import PlainOutput
from workers.errors import EngineError
from workers.events import Outcome, Step, Usage
from workers.processes.lines import Line
from workers.redaction import Redactor, shorten


def redactor(*values: str, credential: str | None = None) -> Redactor:
    return Redactor(Secrets(credential, {str(number): value for number, value in enumerate(values)}))


def test_values_are_redacted_everywhere() -> None:
    secrets = redactor("key-of-model", credential="token-of-forge")
    assert secrets.text("a key-of-model, token-of-forge.") == "a [redacted], [redacted]."


def test_short_values_are_not_redacted() -> None:
    assert redactor("true", "1234567").text("it is true that 1234567") == "it is true that 1234567"


def test_a_secret_that_contains_another_is_redacted_completely() -> None:
    assert redactor("password", "password-and-more").text("password-and-more") == "[redacted]"


def test_a_single_line_of_a_key_is_redacted() -> None:
    secrets = redactor("-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----\n")
    assert secrets.text("see MIIEvQIBADANBg") == "see [redacted]"


def test_all_parts_of_an_outcome_are_redacted() -> None:
    failure = EngineError("agent_failed", "agent", "because s3cret-value", retryable=True)
    outcome = redactor("s3cret-value").outcome(
        Outcome(failure=failure, result="s3cret-value", title="s3cret-value", usage=Usage(1))
    )
    assert "s3cret" not in repr(outcome) + str(outcome.failure)
    assert outcome.failure
    assert (outcome.failure.code, outcome.failure.retryable, outcome.usage) == ("agent_failed", True, Usage(1))


def test_secrets_are_redacted_before_the_text_is_cut() -> None:
    step = redactor("s3cret-value").step(Step("x" * 195 + "s3cret-value", "y" * 8147 + "s3cret-value" * 1000))
    assert "s3c" not in step.title + step.message


def test_long_text_keeps_its_beginning_and_its_end() -> None:
    text = shorten("begin" + "ä" * 100_000 + "end", 1000)
    assert len(text.encode()) <= 1000
    assert text.startswith("begin") and text.endswith("end") and "were left out" in text


def test_characters_that_databases_reject_are_replaced() -> None:
    step = redactor().step(Step("a\0b\n c", "\ud800"))
    assert step == Step("a\ufffdb c", "?")


@pytest.mark.parametrize("before", range(4050, 4100))
def test_cut_output_shows_no_part_of_a_secret(before: int) -> None:
    secrets = Secrets("s3cret-value")
    output = PlainOutput(secrets)
    output.add("x" * (before - 100) + " " + "y" * 99 + "s3cret-value" + " more" * 100)
    [step] = output.flush()
    redacted = Redactor(secrets).step(step)
    assert "s3c" not in redacted.title + redacted.message and "xxx" in redacted.title


@pytest.mark.parametrize("end", [3074, 3080, 4095, 4096, 4097, 4103])
def test_output_without_spaces_is_cut_after_redaction(end: int) -> None:
    secrets = Secrets("s3cret-value")
    output = PlainOutput(secrets)
    output.add("x" * (end - len("s3cret-value")) + "s3cret-value" + "y" * 3000)
    [step] = output.flush()
    assert "s3c" not in step.title + step.message + output.tail and "xxx" in step.message


@pytest.mark.parametrize("kept", range(1, len("s3cret-value")))
@pytest.mark.parametrize(
    "before", ["x" * 20_000, "s3cret-value " * 20_000, ""], ids=["long line", "many secrets", "nothing"]
)
def test_a_cut_line_ends_before_a_secret_might_begin(before: str, kept: int) -> None:
    data = (before + "s3cret-value"[:kept]).encode()
    line = redactor("s3cret-value").line(Line(data, lost=100))
    assert "s3c" not in line.text and f"{len(data) + 100 - len(line.data):,} more bytes" in line.text
    assert len(line.data) > 3000 or not before.startswith("x")


def test_a_complete_line_is_not_changed() -> None:
    line = Line(b'{"text": "s3cret-value"}')
    assert redactor("s3cret-value").line(line) == line
