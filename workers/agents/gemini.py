"""Gemini CLI, the agent of Google, from npm."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workers.agents.base import ConversationFiles
from workers.agents.plain_output import step
from workers.agents.speech import Speech
from workers.agents.stream import StreamAgent
from workers.agents.tool_servers import as_settings, servers_of
from workers.agents.tools import Calls
from workers.agents.values import count_of, text_of
from workers.events import Event, Usage
from workers.job import Job
from workers.sandbox import Place


class GeminiAgent(StreamAgent):
    """`gemini` with a stream of JSON."""

    name = "gemini"
    label = "Gemini CLI"
    program = "gemini"
    install = "npm install -g @google/gemini-cli"
    variables = ("GEMINI_", "GOOGLE_")
    key = "GEMINI_API_KEY"
    provider = ("GOOGLE_GEMINI_BASE_URL", "https://generativelanguage.googleapis.com")
    api = "gemini"
    speaks_mcp = True

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._calls = Calls(job.secrets)
        self._speech = Speech()

    def command(self, place: Place) -> Sequence[str]:
        # Inside the sandbox it may do everything. Without one it may edit files, but not run any command.
        mode = "yolo" if place.isolated else "auto_edit"
        chosen = {"--model": self.job.model, "--resume": self.resumes}
        return [
            *(*self.called, f"--approval-mode={mode}", "--output-format=stream-json"),
            f"--include-directories={place.attachments}",
            *(f"{option}={value}" for option, value in chosen.items() if value),
        ]

    def environment(self, place: Place) -> Mapping[str, str]:
        # It reads the settings of the repository before the option `--skip-trust`, and then starts no server of them.
        return {"GEMINI_CLI_TRUST_WORKSPACE": "true"}

    def conversation_files(self, place: Place, session_id: str) -> ConversationFiles:
        # The folder between has the name of the checkout's.
        return ((".gemini/tmp", f"*/chats/session-*-{session_id[:8]}.jsonl"),)

    def files(self, place: Place) -> Mapping[str, bytes]:
        settings = {
            "security": {"auth": {"selectedType": "gemini-api-key"}},
            # By default it retries for minutes.
            "general": {"maxAttempts": 4, "enableAutoUpdate": False, "enableAutoUpdateNotification": False},
            "privacy": {"usageStatisticsEnabled": False},
            "telemetry": {"enabled": False},
            # It would ask whether it may use what it does not trust.
            "mcpServers": as_settings(servers_of(self.job, place), url="httpUrl", excluded="excludeTools", trust=True),
        }
        return {**super().files(place), ".gemini/settings.json": json.dumps(settings).encode()}

    def read(self, event: dict[str, Any]) -> Iterable[Event]:
        if event.get("type") == "message" and event.get("role") == "assistant":
            yield from self._speech.add(text_of(event.get("content")))
            return
        yield from self._speech.flush()
        match event:
            case {"type": "init", "session_id": str(name)}:
                self.session_id = name
            case {"type": "tool_use", "tool_name": str(tool)}:
                yield self._calls.begin(event.get("tool_id"), tool, event.get("parameters"))
            case {"type": "tool_result"}:
                error = event.get("error")
                said = text_of(error.get("message")) if isinstance(error, dict) else ""
                failed = event.get("status") != "success"
                yield self._calls.end(event.get("tool_id"), text_of(event.get("output")) or said, failed=failed)
            case {"type": "error", "message": str(message)}:
                # This is not final: it also warns in this way.
                self.errors.add(message)
                yield step(message, "system")
            case {"type": "result"}:
                yield self._finish(event)
            case {"type": "message", "role": "user"}:
                pass  # The prompt.
            case _:
                yield from self.unknown.step(event.get("type"), event)

    def _finish(self, event: dict[str, Any]) -> Usage:
        error = event.get("error")
        if event.get("status") == "success":
            self.finished = True
            self.result = self._speech.last
        else:
            self.failure = (text_of(error.get("message")) if isinstance(error, dict) else "") or "It gave no reason."
        given = event.get("stats")
        stats: dict[str, Any] = given if isinstance(given, dict) else {}
        self.usage = Usage(
            input_tokens=count_of(stats.get("input_tokens")),
            output_tokens=count_of(stats.get("output_tokens")),
            cached_input_tokens=count_of(stats.get("cached")),
            tool_calls=self._calls.count,
        )
        return self.usage
