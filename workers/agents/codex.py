"""Codex, the agent of OpenAI, from npm or from its wheel."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workers.agents.base import ConversationFiles
from workers.agents.plain_output import plain_text, step
from workers.agents.stream import StreamAgent
from workers.agents.tool_servers import servers_of
from workers.agents.tools import category_of, todo_step
from workers.agents.values import count_of, objects, text_of
from workers.errors import EngineError
from workers.events import Event, Step, Usage
from workers.job import Job
from workers.sandbox import Place

_KEYS = ("CODEX_API_KEY", "OPENAI_API_KEY")
_NO_TOOLS = re.compile(r"code.mode is unavailable|failed to spawn code-mode host", re.I)
_TOOLS = ("command_execution", "file_change", "mcp_tool_call", "collab_tool_call", "web_search")


class CodexAgent(StreamAgent):
    """`codex exec --json`. The model's address and key are those of OPENAI_BASE_URL and OPENAI_API_KEY."""

    name = "codex"
    label = "Codex"
    program = "codex"
    companions = ("codex-code-mode-host",)
    wheel = "codex_cli_bin/bin"
    install = "npm install -g @openai/codex"
    variables = ("OPENAI_", "CODEX_")
    key = "OPENAI_API_KEY"
    other_keys = ("CODEX_API_KEY",)
    provider = ("OPENAI_BASE_URL", "https://api.openai.com/v1")
    api = "openai"
    speaks_mcp = True
    silent = frozenset({"turn.started", "item.started", "item.updated"})

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._no_tools = ""
        self._tool_calls = 0
        self._tasks: Step | None = None

    def command(self, place: Place) -> Sequence[str]:
        # Its own sandbox does not work inside ours and is not needed there. Without ours it uses its own.
        confined = ("--sandbox", "workspace-write" if self.job.mode == "normal" else "read-only")
        freely = ("--dangerously-bypass-approvals-and-sandbox",)
        model = (f"--model={self.job.model}",) if self.job.model else ()
        resume = ("resume", self.resumes) if self.resumes else ()
        return [
            *(*self.called, "exec", "--json", "--skip-git-repo-check"),
            *(*(freely if place.isolated else confined), *model, *resume, "-"),
        ]

    def conversation_files(self, place: Place, session_id: str) -> ConversationFiles:
        return ((".codex/sessions", f"*/rollout-*-{session_id}.jsonl"),)

    def environment(self, place: Place) -> Mapping[str, str]:
        # Not below TMPDIR: there every command of codex fails, although its exit status is 0.
        return {"CODEX_HOME": f"{place.home}/.codex"}

    def files(self, place: Place) -> Mapping[str, bytes]:
        given = self.job.environment
        provider = {
            "name": "OpenAI",
            "base_url": given.get(*self.provider),
            "wire_api": "responses",
            # By default it calls a provider that fails thirty times.
            "request_max_retries": 1,
            "stream_max_retries": 4,
        }
        key = next((name for name in _KEYS if name in given), None)
        if key or "OPENAI_BASE_URL" not in given:
            provider["env_key"] = key or "OPENAI_API_KEY"
        effort = {"model_reasoning_effort": self.job.effort} if self.job.effort else {}
        lines = [
            *_toml({"model_provider": "configured", "check_for_update_on_startup": False, **effort}),
            "[model_providers.configured]",
            *_toml(provider),
            # The commands that the model runs do not need its key.
            "[shell_environment_policy]",
            *_toml({"exclude": _KEYS}),
            # Analytics and plugins use other hosts than the model's, which the sandbox refuses.
            "[analytics]",
            *_toml({"enabled": False}),
            "[features]",
            *_toml({"plugins": False}),
            *self._servers(place),
        ]
        return {**super().files(place), ".codex/config.toml": "\n".join([*lines, ""]).encode()}

    def _servers(self, place: Place) -> Iterable[str]:
        for each in servers_of(self.job, place):
            yield f"[mcp_servers.{each.name}]"
            yield from _toml({"disabled_tools": each.disabled_tools})
            if each.url:
                yield from _toml({"url": each.url})
            else:
                yield from _toml({"command": each.command[0], "args": each.command[1:]})
                yield f"[mcp_servers.{each.name}.env]"
                yield from _toml(each.environment)

    def read(self, event: dict[str, Any]) -> Iterable[Event]:
        match event:
            case {"type": "thread.started", "thread_id": str(name)}:
                self.session_id = name
            case {"type": "item.completed", "item": dict(item)}:
                self._tool_calls += item.get("type") in _TOOLS
                yield from self._item(item, text_of(item.get("id")) or None)
            case {"type": "item.started" | "item.updated", "item": {"type": "todo_list"}}:
                yield from self._tasks_of(event["item"])
            case {"type": "turn.completed", "usage": dict(usage)}:
                self.finished = True
                self.failure = None
                self.usage = Usage(
                    input_tokens=self._since_before("input_tokens", usage),
                    output_tokens=self._since_before("output_tokens", usage),
                    cached_input_tokens=self._since_before("cached_input_tokens", usage),
                    tool_calls=self._tool_calls,
                )
                yield self.usage
            case {"type": "turn.failed", "error": dict(error)}:
                self.failure = text_of(error.get("message")) or "Codex gave no reason."
            case {"type": "error", "message": str(message)}:
                # This is not final: codex retries, and reports each retry in the same way.
                self.errors.add(message)
                yield step(message, "system")
            case _:
                yield from self.unknown.step(event.get("type"), event)

    def _since_before(self, name: str, usage: Mapping[str, object]) -> int | None:
        """A count of this part of the session alone: it reports those of all its parts."""
        counted = count_of(usage.get(name))
        if counted is None:
            return None
        self.totals[name] = counted
        before = self.earlier_totals.get(name, 0)
        return counted - before if counted >= before else counted

    def verdict(self, status: int) -> EngineError | None:
        # Without its tools it only writes text, and reports success.
        if self._no_tools and not self._tool_calls:
            install = f"Install it with all of its programs: `{self.install}`."
            message = f"Codex could not start its tools. {install}\n{self._no_tools}"
            return EngineError("agent_failed", "agent", message)
        return super().verdict(status)

    def _item(self, item: dict[str, Any], ref: str | None) -> Iterable[Step]:
        match item:
            case {"type": "agent_message", "text": str(text)}:
                self.result = text
                yield step(text)
            case {"type": "reasoning", "text": str(text)}:
                yield step(text, "reasoning")
            case {"type": "command_execution", "command": str(command)}:
                yield _command_step(_unwrapped(command), item, ref)
            case {"type": "file_change"}:
                for change in objects(item.get("changes")):
                    failed = " (failed)" if item.get("status") == "failed" else ""
                    title = f"{text_of(change.get('kind')).capitalize()} {text_of(change.get('path'))}{failed}"
                    yield Step(title, category="edit", ref=ref)
            case {"type": "error", "message": str(message)}:
                if _NO_TOOLS.search(message):
                    self._no_tools = message
                yield step(message, "system")
            case {"type": "mcp_tool_call"}:
                tool = f"{text_of(item.get('server'))}: {text_of(item.get('tool'))}"
                yield Step(tool, category=category_of(tool.replace(": ", "")), ref=ref)
            case {"type": "web_search"}:
                yield Step(f"Search the web: {text_of(item.get('query'))}", category="web", ref=ref)
            case {"type": "todo_list"}:
                yield from self._tasks_of(item)
            case {"type": "collab_tool_call", "tool": str(tool)}:
                first, _, more = text_of(item.get("prompt")).strip().partition("\n")
                yield Step(f"{tool}: {first}" if first else tool, more, category="tool", ref=ref)
            case _:
                yield from self.unknown.step(f"item {text_of(item.get('type'))}", item)

    def _tasks_of(self, item: dict[str, Any]) -> Iterable[Step]:
        """The list of tasks, where it has changed: it is repeated when codex ends."""
        tasks = todo_step(objects(item.get("items")), text_of(item.get("id")) or None)
        if tasks != self._tasks:
            self._tasks = tasks
            yield tasks


def _command_step(command: str, item: dict[str, Any], ref: str | None) -> Step:
    first, _, more = command.partition("\n")
    status = item.get("exit_code")
    parts = [
        command if more else "",
        plain_text(text_of(item.get("aggregated_output"))),
        f"[exit status {status}]" if status else "",
    ]
    text = "\n".join(part.strip("\n") for part in parts if part)
    return Step(first, text, category="command", ref=ref)


def _unwrapped(command: str) -> str:
    """The command itself, without the shell that codex runs it in."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    return words[2] if len(words) == 3 and words[1] in ("-c", "-lc") else command


def _toml(values: Mapping[str, object]) -> list[str]:
    # JSON of strings, booleans and lists of strings is valid TOML.
    return [f"{name} = {json.dumps(value)}" for name, value in values.items()]
