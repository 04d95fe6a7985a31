"""A script that reports like an agent. Tests use it as a fake agent, and it adapts any program that can print JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workers.agents.base import ConversationFiles
from workers.agents.questions import questions_in
from workers.agents.shell import ShellAgent
from workers.agents.tools import category_named
from workers.agents.values import as_object, cost_of, count_of, text_of
from workers.events import Event, Step, Usage
from workers.job import Job
from workers.processes.lines import Line
from workers.sandbox import Place


class ScriptedAgent(ShellAgent):
    """JSON objects with a known `type` on standard output are events. All other lines are plain output.

    `{"type": "step", "title": T, "message": M, "category": C, "ref": R}`, `{"type": "usage", "input_tokens": N, ...}` with the fields of
    `Usage`, `{"type": "result", "text": T}`, `{"type": "title", "text": T}`, `{"type": "session", "id": I}` and
    `{"type": "questions", "questions": [{"question": T, "choices": [T, ...]}, ...]}`.

    What it writes to `~/.agent-runners/session` is there again in a follow-up, if it has reported a session. Earlier
    sessions that it does not remember are on standard input, in words, and so is a request for a summary.
    """

    name = "scripted"
    merged = False
    converses = True

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._words = ""

    def conversation_files(self, place: Place, session_id: str) -> ConversationFiles:
        return ((".agent-runners/session", "*"),)

    def hand_over(self, words: str) -> None:
        self._words = words

    def wrap_up(self, request: str) -> None:
        self._words = request

    @property
    def given(self) -> bytes:
        return self._words.encode(errors="replace")

    def parse(self, line: Line) -> Iterable[Event]:
        event = as_object(line) if line.stream == "out" else None
        match event:
            case {"type": "step", "title": str(title), **more}:
                yield from self.output.flush()
                ref = text_of(more.get("ref")) or None
                yield Step(title, text_of(more.get("message")), category=category_named(more.get("category")), ref=ref)
            case {"type": "usage"}:
                self.usage = _as_usage(event or {})
                yield self.usage
            case {"type": "result", "text": str(text)}:
                self.result = text
            case {"type": "title", "text": str(text)}:
                self.title = text
            case {"type": "questions", "questions": list(questions)}:
                self.questions = questions_in(questions)
            case {"type": "session", "id": str(name)}:
                self.session_id = name
            case _:
                yield from self.output.feed(line.text)


def _as_usage(event: dict[str, Any]) -> Usage:
    return Usage(
        input_tokens=count_of(event.get("input_tokens")),
        output_tokens=count_of(event.get("output_tokens")),
        cached_input_tokens=count_of(event.get("cached_input_tokens")),
        cost_usd=cost_of(event.get("cost_usd")),
        tool_calls=count_of(event.get("tool_calls")),
    )
