"""What a program reports and its adapter does not know is named in a step, once, and never dropped in silence."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from app.redaction.secrets import Secrets
from tests.workers.agents.test_adapters import STREAMS, replay, titles
from tests.workers.engine import job
from workers.agents.base import Agent
from workers.agents.registry import open_agent
from workers.events import Step
from workers.processes.lines import Line

CONFIGURED = (("mine", ("gemini", "--acp")),)
UPDATE = {"sessionUpdate": "hologram", "content": {"angle": 3}}
# An event that nobody knows for each way in which an adapter looks at one, and the kind that names it.
UNKNOWN: list[tuple[str, dict[str, Any], str]] = [
    ("claude", {"type": "hologram"}, "hologram"),
    ("claude", {"type": "system", "subtype": "hologram"}, "system hologram"),
    ("claude", {"type": "assistant", "message": {"content": [{"type": "hologram"}]}}, "hologram"),
    ("claude", {"type": "user", "message": {"content": [{"type": "hologram"}]}}, "hologram"),
    ("codex", {"type": "turn.hologram"}, "turn.hologram"),
    ("codex", {"type": "item.completed", "item": {"type": "hologram"}}, "item hologram"),
    ("copilot", {"type": "session.hologram", "data": {"angle": 3}}, "session.hologram"),
    ("gemini", {"type": "hologram"}, "hologram"),
    ("mini-swe-agent", {"role": "hologram"}, "hologram"),
    ("mine", {"method": "session/update", "params": {"update": UPDATE}}, "hologram"),
    ("mine", {"method": "session/hologram"}, "session/hologram"),
    ("opencode", {"type": "hologram", "part": {"angle": 3}}, "hologram"),
    ("qwen", {"type": "hologram"}, "hologram"),
    # Of a kind that is known, in a form that is not.
    ("codex", {"type": "turn.completed", "usage": "much"}, "turn.completed"),
    ("gemini", {"type": "tool_use", "tool_name": 3}, "tool_use"),
    ("claude", {"angle": 3}, "without a type"),
]


def opened(name: str, **more: object) -> Agent:
    return open_agent(job(agent=name, model="a-model", **more), CONFIGURED)


def steps(agent: Agent, *events: dict[str, Any]) -> list[Step]:
    said = [found for event in events for found in agent.parse(Line(json.dumps(event).encode()))]
    return [each for each in said if isinstance(each, Step)]


@pytest.mark.parametrize(("name", "event", "kind"), UNKNOWN)
def test_an_event_that_is_not_known_is_named_once(programs: Path, name: str, event: dict[str, Any], kind: str) -> None:
    (step,) = steps(opened(name), event, event)
    assert step.title.endswith(f" reports an unknown event: {kind}")
    assert step.category == "system"
    assert step.message


def test_many_fields_with_a_long_path_take_little_memory(programs: Path) -> None:
    agent, event = opened("claude"), {"type": "hologram", "x" * 50_000: [0] * 2_000}
    tracemalloc.start()
    try:
        assert len(steps(agent, event)) == 1
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 10_000_000, "a path for each value would be a hundred megabytes"


def test_its_fields_are_shown_without_secrets(programs: Path) -> None:
    agent = opened("claude", secrets=Secrets(secret=['quo"ted-secret']))
    (step,) = steps(agent, {"type": "hologram", "of": [{"angle": 3, "key": 'quo"ted-secret'}]})
    assert step.message.splitlines()[:2] == ["type: hologram", "of[0].angle: 3"]
    assert "ted-secret" not in step.message


def test_a_program_that_invents_kinds_does_not_fill_the_session(programs: Path) -> None:
    said = steps(opened("gemini"), *({"type": f"hologram-{number}"} for number in range(1000)))
    assert len(said) == 21
    assert said[-1].title == "Gemini CLI reports more unknown events, which are not shown"


def test_an_event_of_any_depth_can_be_shown(programs: Path) -> None:
    nested: dict[str, Any] = {"type": "hologram"}
    for _ in range(200):
        nested = {"type": "hologram", "of": nested}
    (step,) = steps(opened("gemini"), nested)
    assert step.message.endswith(": ...")


@pytest.mark.parametrize("stream", sorted(path.stem for path in STREAMS.glob("*.jsonl")))
def test_all_that_was_recorded_of_the_programs_is_known(programs: Path, stream: str) -> None:
    names = ("claude", "codex", "copilot", "gemini", "mini-swe-agent", "opencode", "qwen")
    name = next((name for name in names if stream.startswith(name)), "mine")
    said = [title for title in titles(replay(opened(name), stream)) if "unknown event" in title]
    # An older client offered the agent files, so that the agent asked for them.
    assert [title for title in said if ": fs/" not in title] == []


def test_what_claude_does_in_the_background_is_shown(programs: Path) -> None:
    said = steps(
        opened("claude"),
        {"type": "system", "subtype": "task_started", "description": "Read the tests"},
        {"type": "system", "subtype": "task_progress", "description": "Read the tests"},
        {"type": "system", "subtype": "task_notification", "status": "completed", "summary": "All read"},
        {"type": "system", "subtype": "compact_boundary"},
        {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed"}},
        {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed_warning"}},
    )
    assert [step.title for step in said] == [
        "Started in the background: Read the tests",
        "Ended in the background (completed): All read",
        "The conversation was summarised, because it became too long",
        "The rate limit of the model provider: allowed_warning",
    ]


def test_what_qwen_tells_of_its_calls_and_of_the_background_is_shown(programs: Path) -> None:
    printed = (
        {"subtype": "retry", "data": {"reason": "retry", "discardedToolCalls": 0}},
        {"subtype": "retry", "data": {"reason": "model_fallback"}},
        {"subtype": "model_fallback", "data": {"fromModel": "large", "toModel": "small", "statusCode": 503}},
        {"subtype": "task_started", "data": {"task_id": "1", "description": "Read the tests"}},
        {"subtype": "task_notification", "data": {"task_id": "1", "status": "completed"}},
    )
    said = steps(opened("qwen"), *({"type": "system", **each} for each in printed))
    assert [step.title for step in said] == [
        "Qwen Code calls its model again",
        "Qwen Code goes on with small in the place of large",
        "Started in the background: Read the tests",
        "Ended in the background (completed)",
    ]


def test_the_agents_that_codex_starts_are_shown(programs: Path) -> None:
    item = {"id": "1", "type": "collab_tool_call", "tool": "spawn_agent", "prompt": "Read\nall tests"}
    (step,) = steps(opened("codex"), {"type": "item.completed", "item": item})
    assert (step.title, step.message, step.category) == ("spawn_agent: Read", "all tests", "tool")


def test_what_copilot_tells_is_shown(programs: Path) -> None:
    printed = {"type": "session.warning", "data": {"message": "The tool is slow."}}
    created = {"type": "session.info", "data": {"infoType": "file_created", "message": "/workspace/new.txt"}}
    said = steps(opened("copilot"), printed, created, {"type": "session.compaction_complete", "data": {}})
    assert [step.title for step in said] == [
        "The tool is slow.",
        "The conversation was summarised, because it became too long",
    ]


def test_what_mini_swe_agent_cannot_use_of_the_model_is_shown(programs: Path) -> None:
    (step,) = steps(opened("mini-swe-agent"), {"role": "user", "content": "No tool calls found."})
    assert (step.title, step.category) == ("No tool calls found.", "system")
