"""Any agent that speaks the Agent Client Protocol (https://agentclientprotocol.com), by the command that an operator names."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from workers.agents import acp_client
from workers.agents.base import ConversationFiles
from workers.agents.programs import Installed, find_installed
from workers.agents.speech import Speech
from workers.agents.stream import StreamAgent
from workers.agents.tool_servers import ToolServer, servers_of
from workers.agents.tools import Calls, todo_step
from workers.agents.values import cost_of, count_of, objects, text_of
from workers.egress.gateway.providers import ApiName, Provider, host_of
from workers.events import Category, Event, Step, Usage
from workers.job import Job
from workers.sandbox import Place

# The providers that can be recognised by their variables.
_PROVIDERS: tuple[tuple[ApiName, str, str], ...] = (
    ("anthropic", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
    ("openai", "OPENAI_BASE_URL", "OPENAI_API_KEY"),
    ("openai", "COPILOT_PROVIDER_BASE_URL", "COPILOT_PROVIDER_API_KEY"),
    ("gemini", "GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY"),
)
# Where the agents that are known to load sessions keep them.
_CONVERSATIONS = (
    (".claude/projects", "*.jsonl"),
    (".codex/sessions", "*.jsonl"),
    (".copilot/session-state", "*"),
    (".gemini/tmp", "*/chats/*"),
    (".local/share/goose/sessions", "*"),
    (".local/share/opencode", "opencode.db*"),
    (".qwen/projects", "*/chats/*"),
)
_MOST_UNNAMED = 100
_CLIENT = ".agent-runners/acp_client.py"
_SERVERS = ".agent-runners/mcp.json"
_KINDS: dict[str, Category] = {
    "read": "read",
    "edit": "edit",
    "delete": "edit",
    "move": "edit",
    "search": "search",
    "execute": "command",
    "think": "reasoning",
    "fetch": "web",
}
# What only a program that shows a screen needs, and what `acp_client` answers.
_SILENT = (
    *("user_message_chunk", "available_commands_update", "current_mode_update", "config_option_update"),
    *("session_info_update", "usage_update", "session/request_permission", "_auth/status_update"),
    # Qwen Code asks whether a person has written something meanwhile.
    "craft/drainMidTurnQueue",
)
_ENDS: dict[str, str] = {
    "refusal": "The model refused to continue.",
    "max_tokens": "It reached the limit of tokens of its model.",
    "max_turn_requests": "It reached its limit of requests.",
    "cancelled": "It was cancelled.",
}


class AcpAgent(StreamAgent):
    """One agent of `AGENT_RUNNERS_ACP_AGENTS`. `acp_client` speaks with it inside the sandbox."""

    configured: ClassVar[tuple[str, ...]]
    """Its command line."""
    key = "the variable that it takes its key from"
    variables = ("",)
    speaks_mcp = True
    silent = frozenset(_SILENT)
    can_disable_tools = False

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._calls = Calls(job.secrets)
        self._speech = Speech()
        self._unnamed: dict[str, dict[str, Any]] = {}
        self._cost: float | None = None

    @classmethod
    def find(cls) -> Installed | None:
        """Its program on this host."""
        return find_installed(cls.configured[0])

    @property
    def model_hosts(self) -> tuple[str, ...]:
        """The hosts of all `..._BASE_URL`: which of them it uses is not known."""
        given = self.job.environment
        return tuple(sorted({host_of(url) for name, url in given.items() if name.endswith("_BASE_URL")}))

    @property
    def providers(self) -> tuple[Provider, ...]:
        """Those whose URL the operator has set: only such a variable shows that the agent can be pointed elsewhere."""
        given = self.job.environment
        return tuple(
            Provider(api, variable, given[variable], {key: given.get(key, "")})
            for api, variable, key in _PROVIDERS
            if variable in given
        )

    def command(self, place: Place) -> Sequence[str]:
        asks = "0" if place.isolated else "1"
        python = [os.path.realpath(sys.executable), "-I", "-S", f"{place.home}/{_CLIENT}"]
        about = (place.checkout, f"{place.home}/{_SERVERS}", self.job.model or "", asks, self.resumes or "")
        return [*python, *about, *self.called, *self.configured[1:]]

    def conversation_files(self, place: Place, session_id: str) -> ConversationFiles:
        # Folders that have the name of the checkout have another one without a sandbox.
        return _CONVERSATIONS if place.isolated else ()

    def files(self, place: Place) -> Mapping[str, bytes]:
        servers = [
            {"name": each.name, **_server(each)} for each in servers_of(self.job, place) if not each.disabled_tools
        ]
        own = {_CLIENT: Path(acp_client.__file__).read_bytes(), _SERVERS: json.dumps(servers).encode()}
        return {**super().files(place), **own}

    def read(self, event: dict[str, Any]) -> Iterable[Event]:
        match event:
            case {"method": "session/update", "params": {"update": dict(update)}}:
                yield from self._update(update)
            case {"acp": "session", "id": str(name)}:
                self.session_id = name
            case {"acp": "done"}:
                yield from self._speech.flush()
                yield self._finish(event)
            case {"acp": "failed"}:
                yield from self._speech.flush()
                self.failure = text_of(event.get("message")) or "It gave no reason."
            case _:
                yield from self.unknown.step(event.get("method"), event)

    def _update(self, update: dict[str, Any]) -> Iterable[Event]:
        kind = update.get("sessionUpdate")
        if kind in ("agent_message_chunk", "agent_thought_chunk"):
            content = update.get("content")
            text = text_of([content]) if isinstance(content, dict) else ""
            yield from self._speech.add(text, "message" if kind == "agent_message_chunk" else "reasoning")
            return
        if kind in ("tool_call", "tool_call_update", "plan"):
            yield from self._speech.flush()
        if kind == "tool_call":
            yield from self._begin(update)
        elif kind == "tool_call_update":
            yield from self._progress(update)
        elif kind == "plan":
            yield todo_step(objects(update.get("entries")), None, "plan")
        elif kind == "usage_update" and isinstance(cost := update.get("cost"), dict):
            self._cost = cost_of(cost.get("amount")) if cost.get("currency") == "USD" else None
        else:
            yield from self.unknown.step(kind, update)

    def _begin(self, update: dict[str, Any]) -> Iterable[Step]:
        """The step for a call. While the model still writes its arguments it says nothing: the next update names them."""
        if update.get("rawInput") == {} and not update.get("locations") and len(self._unnamed) < _MOST_UNNAMED:
            self._unnamed[str(update.get("toolCallId"))] = update
        else:
            yield self._calls.note(_call(update))

    def _progress(self, update: dict[str, Any]) -> Iterable[Step]:
        """Steps for a call that is named only now, and for the end of one."""
        status, ref = update.get("status"), update.get("toolCallId")
        if begun := self._unnamed.pop(str(ref), None):
            named = {name: value for name, value in update.items() if value}
            yield self._calls.note(_call({**begun, **named}))
        if status not in ("completed", "failed"):
            return
        if not self._calls.knows(ref):
            yield self._calls.note(_call(update))
        content = [each.get("content") for each in objects(update.get("content"))]
        said = text_of(content) or "\n".join(
            f"Changed {each.get('path')}" for each in objects(update.get("content")) if each.get("type") == "diff"
        )
        title = text_of(update.get("title")) or None
        yield self._calls.end(ref, said, failed=status == "failed", title=title)

    def _finish(self, event: dict[str, Any]) -> Usage:
        reason = text_of(event.get("stopReason"))
        if reason == "end_turn":
            self.finished = True
            self.result = self._speech.last
        else:
            self.failure = _ENDS.get(reason, f"It ended with {reason or 'no reason'}.")
        given = event.get("usage")
        usage: dict[str, Any] = given if isinstance(given, dict) else {}
        cached = count_of(usage.get("cachedReadTokens"))
        counted = [count_of(usage.get(name)) for name in ("inputTokens", "cachedReadTokens", "cachedWriteTokens")]
        given_tokens = sum(each or 0 for each in counted) if counted[0] is not None else None
        self.usage = Usage(
            input_tokens=count_of(given_tokens),
            output_tokens=count_of(usage.get("outputTokens")),
            cached_input_tokens=cached,
            cost_usd=self._cost or None,
            tool_calls=self._calls.count,
        )
        return self.usage


def acp_agent(name: str, command: tuple[str, ...]) -> type[AcpAgent]:
    """The adapter for an agent that the operator has named, with its command line."""
    about = {"name": name, "label": name, "program": command[0], "configured": command}
    return type("ConfiguredAcpAgent", (AcpAgent,), {**about, "install": f"make {command[0]} available on PATH"})


def _server(server: ToolServer) -> dict[str, Any]:
    if server.url:
        return {"type": "http", "url": server.url, "headers": []}
    environment = [{"name": name, "value": value} for name, value in server.environment.items()]
    return {"command": server.command[0], "args": server.command[1:], "env": environment}


def _call(update: dict[str, Any]) -> Step:
    title = text_of(update.get("title")) or "a tool"
    paths = [text_of(each.get("path")) for each in objects(update.get("locations"))]
    about = ", ".join(path for path in paths if path and path not in title)
    category = _KINDS.get(text_of(update.get("kind")), "tool")
    return Step(f"{title}: {about}" if about else title, category=category, ref=str(update.get("toolCallId")))
