"""Agents that ask a person, and go on with the answer."""

from __future__ import annotations

import pytest

from tests.agents.real import EDIT, SANDBOXED, Real
from tests.agents.test_real_clis import CHANGE, NOTE
from tests.model_servers import directive
from workers.events import Question
from workers.job import Conversation

QUESTION = Question("Which sign is right?", ("plus", "minus"))
ASKS = directive("ask", QUESTION.text, *QUESTION.choices)
CAN_ASK = [each for each in SANDBOXED if each.id != "mini-swe-agent"]


@pytest.mark.parametrize("real", CAN_ASK, indirect=True)
def test_a_question_ends_the_turn_and_the_answer_goes_on(real: Real) -> None:
    asked = real.run(NOTE, ASKS)
    assert asked.outcome.failure is None
    assert asked.outcome.questions == (QUESTION,)
    assert "+kept" in real.engine.diff
    assert "question" in [getattr(event, "category", "") for event in asked.events]
    so_far, state = real.engine.sink.diffs["cumulative"], real.engine.sink.conversation
    assert state
    answered = real.run(
        "The answer: plus.",
        *EDIT,
        base_sha=asked.outcome.base_sha,
        start_diff=lambda: iter([so_far]),
        conversation=Conversation(lambda: "", asked.outcome.session_id, lambda: iter([state])),
    )
    assert (answered.outcome.failure, answered.outcome.questions) == (None, ())
    assert CHANGE in real.engine.diff
    assert QUESTION.text in str(real.model.requests[-1].body)
