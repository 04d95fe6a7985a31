"""OpenCode, from npm. It works with any model behind OpenAI's Chat Completions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workers.agents.base import ConversationFiles, chosen_model
from workers.agents.plain_output import step
from workers.agents.stream import StreamAgent
from workers.agents.tool_servers import servers_of
from workers.agents.tools import Calls
from workers.agents.values import cost_of, count_of, text_of
from workers.events import Event, Usage
from workers.job import Job
from workers.sandbox import Place

_PROVIDER = "configured"
_TITLE = "Agent Runners"
# It would fetch its library for plugins, which the sandbox refuses, unless this says that it is installed.
_INSTALLED = {"packages": {"": {"dependencies": {"@opencode-ai/plugin": "*"}}}}


class OpencodeAgent(StreamAgent):
    """`opencode run` with a stream of JSON. It has no final event: it is done when a turn ends without a tool call."""

    name = "opencode"
    label = "OpenCode"
    program = "opencode"
    install = "npm install -g opencode-ai"
    variables = ("OPENAI_", "OPENCODE_")
    key = "OPENAI_API_KEY"
    provider = ("OPENAI_BASE_URL", "https://api.openai.com/v1")
    api = "openai"
    speaks_mcp = True
    silent = frozenset({"step_start"})

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._model = chosen_model(job, self.label, "OPENAI_MODEL")
        self._calls = Calls(job.secrets)
        self._input = self._output = self._cached = 0
        self._cost = 0.0
        self._last: str | None = None

    def command(self, place: Place) -> Sequence[str]:
        chosen = {
            "--model": f"{_PROVIDER}/{self._model}",
            "--variant": self.job.effort,
            "--session": self.resumes,
            # Otherwise it asks the model for one, which costs a call and is shown nowhere.
            "--title": None if self.resumes else _TITLE,
        }
        options = (f"{option}={value}" for option, value in chosen.items() if value)
        return [*self.called, "run", "--format=json", "--thinking", *options]

    def conversation_files(self, place: Place, session_id: str) -> ConversationFiles:
        return ((".local/share/opencode", "opencode.db*"),)

    def files(self, place: Place) -> Mapping[str, bytes]:
        installed = {"package-lock.json": json.dumps(_INSTALLED).encode(), "node_modules/.keep": b""}
        return {**super().files(place), **{f".config/opencode/{name}": data for name, data in installed.items()}}

    def environment(self, place: Place) -> Mapping[str, str]:
        # Inside the sandbox it may do everything. Without one it may edit files, but not run any command.
        confined = {"edit": "allow", "bash": "deny", "external_directory": "deny"}
        options = {"baseURL": self.job.environment.get(*self.provider), "apiKey": f"{{env:{self.key}}}"}
        model = f"{_PROVIDER}/{self._model}"
        servers = servers_of(self.job, place)
        settings = {
            "model": model,
            "small_model": model,
            "provider": {
                _PROVIDER: {
                    "npm": "@ai-sdk/openai-compatible",
                    "options": options,
                    "models": {self._model: {"name": self._model}},
                }
            },
            "mcp": {
                each.name: {"type": "remote", "url": each.url}
                if each.url
                else {"type": "local", "command": each.command, "environment": {**each.environment}}
                for each in servers
            },
            "tools": {f"{each.name}_{tool}": False for each in servers for tool in each.disabled_tools},
            "permission": "allow" if place.isolated else confined,
            "share": "disabled",
            "autoupdate": False,
        }
        # It fetches its plugins, its list of models and language servers from hosts that the sandbox refuses.
        off = ("AUTOUPDATE", "MODELS_FETCH", "DEFAULT_PLUGINS", "LSP_DOWNLOAD")
        return {"OPENCODE_CONFIG_CONTENT": json.dumps(settings), **{f"OPENCODE_DISABLE_{each}": "1" for each in off}}

    def read(self, event: dict[str, Any]) -> Iterable[Event]:
        given = event.get("part")
        part: dict[str, Any] = given if isinstance(given, dict) else {}
        self.session_id = text_of(event.get("sessionID")) or self.session_id
        match event.get("type"):
            case "text":
                if text := text_of(part.get("text")).strip():
                    self._last = text
                    yield step(text)
            case "reasoning":
                if text := text_of(part.get("text")).strip():
                    yield step(text, "reasoning")
            case "tool_use":
                # It reports a call together with its result.
                state = part.get("state")
                call: dict[str, Any] = state if isinstance(state, dict) else {}
                yield self._calls.begin(part.get("callID"), text_of(part.get("tool")) or "a tool", call.get("input"))
                answer = text_of(call.get("output")) or text_of(call.get("error"))
                yield self._calls.end(part.get("callID"), answer, failed=call.get("status") == "error")
            case "step_finish":
                yield self._count(part)
                self.finished = part.get("reason") == "stop"
                self.result = self._last if self.finished else None
            case "error":
                error = event.get("error")
                self.failure = _reason(error if isinstance(error, dict) else {})
            case kind:
                yield from self.unknown.step(kind, event)

    def _count(self, part: dict[str, Any]) -> Usage:
        given = part.get("tokens")
        tokens: dict[str, Any] = given if isinstance(given, dict) else {}
        given = tokens.get("cache")
        cache: dict[str, Any] = given if isinstance(given, dict) else {}
        cached = count_of(cache.get("read")) or 0
        self._cached += cached
        self._input += (count_of(tokens.get("input")) or 0) + cached + (count_of(cache.get("write")) or 0)
        self._output += (count_of(tokens.get("output")) or 0) + (count_of(tokens.get("reasoning")) or 0)
        self._cost += cost_of(part.get("cost")) or 0
        self.usage = Usage(
            input_tokens=count_of(self._input),
            output_tokens=count_of(self._output),
            cached_input_tokens=count_of(self._cached),
            # It does not know what a model of one's own costs, and then says 0.
            cost_usd=cost_of(self._cost) or None,
            tool_calls=self._calls.count,
        )
        return self.usage


def _reason(error: dict[str, Any]) -> str:
    given = error.get("data")
    data: dict[str, Any] = given if isinstance(given, dict) else {}
    message = text_of(data.get("message")) or text_of(error.get("message")) or text_of(error.get("name"))
    status = data.get("statusCode")
    return f"{message or 'It gave no reason.'}" + (f" (status {status})" if isinstance(status, int) else "")
