"""The stream of JSON that Claude Code prints, and in the same form the agents that were built after it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

from workers.agents.plain_output import step
from workers.agents.stream import StreamAgent
from workers.agents.tools import Calls
from workers.agents.values import cost_of, count_of, objects, text_of
from workers.errors import EngineError
from workers.events import Event, Step, Usage
from workers.job import Job

_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
# How many messages are remembered whose parts may still arrive: of the main agent and of parallel subagents.
_REMEMBERED = 1000
# Progress of what is a step at its beginning or end, and what only a program that shows a screen needs.
_SILENT = (
    *("stream_event", "tool_progress", "tool_use_summary", "prompt_suggestion", "keep_alive", "auth_status"),
    *("system status", "system task_progress", "system task_updated", "system background_tasks_changed"),
    *("system hook_started", "system hook_progress", "system hook_response", "system session_state_changed"),
    *("system files_persisted", "system thinking_tokens", "redacted_thinking"),
)


class ClaudeStreamAgent(StreamAgent):
    """An agent that prints what Claude Code prints."""

    version: ClassVar[str]
    """The field of the first event that has its version."""
    counts_cached_twice: ClassVar[bool] = False
    """Whether cached input is a part of `input_tokens`. Anthropic counts it separately."""
    silent = frozenset(_SILENT)

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._calls = Calls(job.secrets)
        self._messages: dict[str, Counter[str]] = {}
        self._totals: Counter[str] = Counter()

    def read(self, event: dict[str, Any]) -> Iterable[Event]:
        match event:
            case {"type": "system", "subtype": "init"}:
                self.session_id = text_of(event.get("session_id")) or None
                version = text_of(event.get(self.version))
                yield Step(f"{self.label} {version} started".replace("  ", " "), f"Model: {event.get('model')}")
            case {"type": "system", "subtype": "api_retry"}:
                again = f"{self.label} tries again."
                yield Step(f"The model provider answered with an error: {event.get('error')}", again)
            case {"type": "system", "subtype": "compact_boundary"}:
                yield Step("The conversation was summarised, because it became too long", category="system")
            case {"type": "system", "subtype": "task_started", "description": str(about)}:
                yield step(f"Started in the background: {about}", "tool")
            case {"type": "system", "subtype": "task_notification", "status": str(status)}:
                summary = text_of(event.get("summary"))
                yield step(f"Ended in the background ({status})" + (f": {summary}" if summary else ""), "tool")
            case {"type": "rate_limit_event", "rate_limit_info": {"status": str(status)}}:
                if status != "allowed":
                    yield Step(f"The rate limit of the model provider: {status}", category="system")
            case {"type": "assistant", "message": dict(message)}:
                yield from self._message(message)
            case {"type": "user", "message": dict(message)}:
                yield from self._answers(message)
            case {"type": "result"}:
                yield self._finish(event)
                if event.get("subtype") == "error_max_budget_usd":
                    limit = self.job.limits.max_cost_usd
                    reason = str(self.failure)
                    if limit:
                        reason = f"{self.label} reached the limit of {limit:.4g} US dollars. Raise limits.max_cost_usd."
                    raise EngineError("budget_limit", "agent", reason)
            case _:
                kind = " ".join(filter(None, (text_of(event.get("type")), text_of(event.get("subtype")))))
                yield from self.unknown.step(kind, event)

    def _message(self, message: dict[str, Any]) -> Iterable[Event]:
        for block in objects(message.get("content")):
            match block:
                case {"type": "text", "text": str(text)}:
                    yield from [step(text)] if text.strip() else []
                case {"type": "thinking", "thinking": str(text)}:
                    yield from [step(text, "reasoning")] if text.strip() else []
                case {"type": "tool_use" | "server_tool_use", "name": str(tool)}:
                    yield self._calls.begin(block.get("id"), tool, block.get("input"))
                case _:
                    yield from self.unknown.step(block.get("type"), block)
        # A message arrives in parts, and each part repeats the usage of the message so far.
        usage, known = message.get("usage"), str(message.get("id"))
        if isinstance(usage, dict) and self._messages.get(known) != (counts := _counts_of(usage)):
            self._totals.update(counts)
            self._totals.subtract(self._messages.pop(known, {}))
            self._messages[known] = counts
            if len(self._messages) > _REMEMBERED:
                del self._messages[next(iter(self._messages))]
            self.usage = self._sum(self._totals)
            yield self.usage

    def _answers(self, message: dict[str, Any]) -> Iterable[Step]:
        for block in objects(message.get("content")):
            match block:
                case {"type": "tool_result"}:
                    answer = text_of(block.get("content"))
                    answer = answer.removeprefix("<tool_use_error>").removesuffix("</tool_use_error>")
                    yield self._calls.end(block.get("tool_use_id"), answer, failed=bool(block.get("is_error")))
                case {"type": "text"}:
                    pass  # What the program itself tells the model.
                case _:
                    yield from self.unknown.step(block.get("type"), block)

    def _finish(self, event: dict[str, Any]) -> Usage:
        # `subtype` is "success" even where it failed.
        said = text_of(event.get("result"))
        if event.get("is_error") or event.get("subtype") != "success":
            errors = event.get("errors")
            reasons = [str(each) for each in errors] if isinstance(errors, list) else []
            error = event.get("error")
            reasons += [text_of(error.get("message"))] if isinstance(error, dict) else []
            self.failure = said or "\n".join(reasons) or f"It ended with {event.get('subtype')}."
        else:
            self.finished = True
            self.result = said or None
        usage = event.get("usage")
        counts = _counts_of(usage) if isinstance(usage, dict) else self._totals
        self.usage = self._sum(counts, cost_of(event.get("total_cost_usd")))
        return self.usage

    def _sum(self, counts: Counter[str], cost: float | None = None) -> Usage:
        """The usage. Cache reads and writes are input."""
        fresh, written, cached, output = (counts[name] for name in _COUNTS)
        given = fresh if self.counts_cached_twice else fresh + written + cached
        return Usage(count_of(given), count_of(output), count_of(cached), cost, self._calls.count)


def folder_of(checkout: str) -> str:
    """The name of the folder that has the sessions in a working directory."""
    return re.sub("[^a-zA-Z0-9]", "-", checkout)


def _counts_of(usage: dict[str, Any]) -> Counter[str]:
    return Counter({name: count_of(usage.get(name)) or 0 for name in _COUNTS})
