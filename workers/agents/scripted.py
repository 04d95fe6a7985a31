"""A script that reports like an agent. Tests use it as a fake agent, and it adapts any program that can print JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workers.agents.shell import ShellAgent
from workers.agents.tools import category_named
from workers.agents.values import as_object, cost_of, count_of, text_of
from workers.job import Event, Step, Usage
from workers.processes.lines import Line


class ScriptedAgent(ShellAgent):
    """JSON objects with a known `type` on standard output are events. All other lines are plain output.

    `{"type": "step", "title": T, "message": M, "category": C, "ref": R}`, `{"type": "usage", "input_tokens": N, ...}` with the fields of
    `Usage`, `{"type": "result", "text": T}` and `{"type": "title", "text": T}`.
    """

    name = "scripted"
    merged = False

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
