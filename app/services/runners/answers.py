"""Answers to the questions of an agent, which become a part of the next prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.errors import Conflict, invalid
from app.models import AgentRunner

_HEAD = "Your questions were answered:"
_NONE = "(no answer: decide it yourself)"


def prompt_of(runner: AgentRunner, answers: Sequence[Mapping[str, Any]], prompt: str) -> str:
    """The prompt that tells the agent the answers, and then what else it is to do. Each answer has its `question_id`.

    Raises `Conflict` if the runner asks nothing, and `Invalid` for an answer to none of its questions.
    """
    if not answers:
        return prompt
    if not runner.awaiting_input or runner.questions is None:
        message = (
            "The agent runner has no open questions: they were answered, or another session has started. Send a prompt."
        )
        raise Conflict(message, error_code="not_awaiting_input")
    given = {str(each["question_id"]): each["answer"].strip() for each in answers}
    if given.keys() - {each["id"] for each in runner.questions} or len(given) < len(answers):
        message = "must answer open questions of the runner, each once; GET the runner to see them with their ids"
        raise invalid("answers", message, error_code="unknown_question")
    parts = [
        f"{number}. {each['question']}\n\nAnswer: {given.get(each['id'], _NONE)}"
        for number, each in enumerate(runner.questions, 1)
    ]
    return "\n\n".join([_HEAD, *parts, *([prompt] if prompt else [])])
