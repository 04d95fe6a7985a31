"""Whatever is in the fields that adapters read, no exception leaves them, and what they tell can be stored."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.redaction.secrets import Secrets
from tests.matrix import examples
from tests.workers.engine import job
from workers.agents.registry import open_agent
from workers.events import Event, Step, Usage
from workers.processes.lines import Line
from workers.redaction import Redactor

ODD = [True, None, 2**53, 2**63, 10**400, -(10**400), 1e308, "\ud800", "sh -c 'x", "x" * 5000, "a\n" * 50, [], {}, [[]]]
PLAIN = st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=20)
ANYTHING = PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.text(max_size=5), PLAIN, max_size=2)

COUNTS = ("input_tokens", "output_tokens", "cached_input_tokens", "tool_calls")
CLAUDE_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
ITEMS: tuple[dict[str, Any], ...] = (
    {"type": "agent_message", "text": "a"},
    {"type": "reasoning", "text": "a"},
    {"type": "command_execution", "command": "sh -c a", "exit_code": 1, "aggregated_output": "a"},
    {"type": "file_change", "status": "failed", "changes": [{"kind": "add", "path": "a"}]},
    {"type": "error", "message": "a"},
    {"type": "mcp_tool_call", "server": "a", "tool": "b"},
    {"type": "web_search", "query": "a"},
    {"id": "a", "type": "todo_list", "items": [{"text": "a", "completed": True}]},
)
TASKS = {"todos": [{"content": "a", "status": "done"}]}
# One event of each kind that an adapter reads, with all that it looks at.
READ: dict[str, list[dict[str, Any]]] = {
    "claude": [
        {"type": "system", "subtype": "init", "claude_code_version": "2", "model": "a"},
        {"type": "system", "subtype": "api_retry", "error": "a"},
        {"type": "assistant", "message": {"content": [{"type": "text", "text": "a"}]}},
        {"type": "assistant", "message": {"content": [{"type": "tool_use", "name": "a", "input": {"command": "a"}}]}},
        {"type": "assistant", "message": {"content": [{"type": "tool_use", "name": "TodoWrite", "input": TASKS}]}},
        {"type": "assistant", "message": {"id": "a", "usage": dict.fromkeys(CLAUDE_COUNTS, 1)}},
        {"type": "user", "message": {"content": [{"type": "tool_result", "is_error": True, "content": "a"}]}},
        {
            "type": "result",
            "subtype": "success",
            "result": "a",
            "total_cost_usd": 1,
            "usage": dict.fromkeys(CLAUDE_COUNTS, 1),
        },
        {"type": "result", "subtype": "error", "is_error": True, "errors": ["a"]},
    ],
    "codex": [
        *({"type": "item.completed", "item": item} for item in ITEMS),
        {"type": "turn.completed", "usage": dict.fromkeys(COUNTS, 1)},
        {"type": "turn.failed", "error": {"message": "a"}},
        {"type": "error", "message": "a"},
    ],
    "copilot": [
        {"type": "assistant.message", "data": {"content": "a"}},
        {"type": "assistant.reasoning", "data": {"content": "a"}},
        {"type": "tool.execution_start", "data": {"toolCallId": "a", "toolName": "a", "arguments": {"command": "a"}}},
        {"type": "tool.execution_complete", "data": {"toolCallId": "a", "success": True, "result": {"content": "a"}}},
        {"type": "tool.execution_complete", "data": {"toolCallId": "a", "success": False, "error": {"message": "a"}}},
        {"type": "model.call_failure", "data": {"errorMessage": "a", "statusCode": 500}},
        {"type": "session.error", "data": {"message": "a"}},
        {"type": "result", "exitCode": 0},
    ],
    "gemini": [
        {"type": "message", "role": "assistant", "content": "a"},
        {"type": "tool_use", "tool_name": "a", "tool_id": "a", "parameters": {"file_path": "a"}},
        {"type": "tool_result", "tool_id": "a", "status": "error", "output": "a", "error": {"message": "a"}},
        {"type": "error", "message": "a"},
        {"type": "result", "status": "success", "stats": {"input_tokens": 1, "output_tokens": 1, "cached": 1}},
        {"type": "result", "status": "error", "error": {"message": "a"}},
    ],
    "mini-swe-agent": [
        {"role": "assistant", "content": "a", "actions": [{"command": "a", "tool_call_id": "a"}], "cost": 1},
        {"role": "assistant", "usage": {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1}}},
        {"role": "tool", "tool_call_id": "a", "raw_output": "a", "exception_info": "a", "returncode": 0},
        {"role": "exit", "exit_status": "Submitted", "content": "a"},
        {"role": "exit", "exit_status": "a", "content": "a"},
    ],
    "opencode": [
        {"type": "text", "part": {"text": "a"}},
        {"type": "reasoning", "part": {"text": "a"}},
        {"type": "tool_use", "part": {"callID": "a", "tool": "a", "state": {"input": {"command": "a"}, "output": "a"}}},
        {"type": "step_finish", "part": {"reason": "stop", "cost": 1, "tokens": {"input": 1, "cache": {"read": 1}}}},
        {"type": "error", "error": {"name": "a", "data": {"message": "a", "statusCode": 1}}},
    ],
    "scripted": [
        {"type": "step", "title": "a", "message": "a", "category": "read", "ref": "a"},
        {"type": "usage", "cost_usd": 1, **dict.fromkeys(COUNTS, 1)},
        {"type": "result", "text": "a"},
        {"type": "title", "text": "a"},
    ],
}


def places(value: object) -> Iterator[tuple[Any, Any]]:
    """Every field of an event and of what is in it, as the container and the key, but those that tell what it is."""
    fields = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in fields:
        if key not in ("type", "subtype"):
            yield value, key
        yield from places(inner)


@st.composite
def odd_events(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """An event as the agent prints it, with anything in the place of some fields or of all."""
    event = copy.deepcopy(draw(st.sampled_from(READ[name])))
    for container, key in list(places(event)):
        if draw(st.booleans()):
            container[key] = draw(ANYTHING)
    return event


@pytest.mark.parametrize("name", READ)
@settings(max_examples=examples(150), suppress_health_check=list(HealthCheck))
@given(data=st.data(), status=st.sampled_from([0, 1, 137]))
def test_no_exception_leaves_an_adapter(programs: Path, name: str, data: st.DataObject, status: int) -> None:
    agent = open_agent(job(agent=name, model="a-model"))
    said = data.draw(st.lists(odd_events(name), min_size=1, max_size=3))
    lines = [Line(json.dumps(event).encode()) for event in said]
    events: list[Event] = [event for line in lines for event in agent.parse(line)] + list(agent.tick(ended=True))
    failure = agent.verdict(status)
    redactor = Redactor(Secrets())
    for event in events:
        if isinstance(event, Step):
            redactor.step(event)
        if isinstance(event, Usage):
            assert_countable(event)
    texts = (failure and failure.message, agent.result, agent.title)
    assert all(text is None or isinstance(text, str) for text in texts)


def assert_countable(usage: Usage) -> None:
    counts = (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens, usage.tool_calls)
    assert all(count is None or (type(count) is int and 0 <= count <= 2**53) for count in counts)
    assert usage.cost_usd is None or (type(usage.cost_usd) is float and 0 <= usage.cost_usd < 2**53)
