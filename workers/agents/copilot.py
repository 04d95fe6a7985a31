"""Copilot CLI, the agent of GitHub, from npm. It is proprietary: who installs it accepts its terms.

It runs with a model of one's own (`COPILOT_PROVIDER_BASE_URL`), offline otherwise: it logs in to no account of GitHub.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workers.agents.base import ConversationFiles, chosen_model
from workers.agents.plain_output import step
from workers.agents.stream import StreamAgent
from workers.agents.tool_servers import as_settings, servers_of
from workers.agents.tools import Calls
from workers.agents.values import text_of
from workers.events import Event, Usage
from workers.job import Job
from workers.sandbox import Place

_SERVERS = ".agent-runners/mcp.json"
# Pieces and progress of what is a step, and what only a program that shows a screen needs.
_SILENT = (
    *("assistant.turn_start", "assistant.turn_end", "assistant.idle", "assistant.intent", "assistant.usage"),
    *("assistant.message_start", "assistant.message_delta", "assistant.reasoning_delta", "assistant.streaming_delta"),
    *("assistant.tool_call_delta", "model.call_start", "model.call_finished", "model.call_final_result"),
    *("tool.execution_partial_result", "tool.execution_progress", "permission.requested", "permission.completed"),
    *("session.start", "session.resume", "session.idle", "session.shutdown", "session.usage_info"),
    *("session.skills_loaded", "session.mcp_servers_loaded", "session.tools_updated", "session.title_changed"),
    *("session.mcp_server_status_changed", "session.custom_agents_updated", "session.background_tasks_changed"),
    *("session.model_change", "session.mode_changed", "session.context_changed", "session.compaction_start"),
    *("session.mcp_server_tools_loaded", "tool.shell_output", "assistant.turn_retry"),
    *("hook.start", "hook.end", "system.message", "pending_messages.modified"),
)


class CopilotAgent(StreamAgent):
    """`copilot` with a stream of JSON. It reports no tokens and no cost."""

    name = "copilot"
    label = "Copilot CLI"
    program = "copilot"
    install = "npm install -g @github/copilot"
    variables = ("COPILOT_",)
    key = "COPILOT_PROVIDER_API_KEY"
    provider = ("COPILOT_PROVIDER_BASE_URL", "https://api.openai.com/v1")
    api = "openai"
    speaks_mcp = True
    silent = frozenset(_SILENT)

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._calls = Calls(job.secrets)
        self._model = chosen_model(job, self.label, "COPILOT_MODEL")
        self._last: str | None = None
        self._new_session = str(uuid.uuid4())

    def command(self, place: Place) -> Sequence[str]:
        # Inside the sandbox it may do everything. Without one it may edit files, but not run any command.
        freely = ("--allow-all-tools", "--allow-all-paths")
        servers = servers_of(self.job, place)
        confined = (
            *("--allow-tool=write", f"--add-dir={place.attachments}"),
            *(f"--allow-tool={each.name}" for each in servers),
        )
        # It reports the id of its session only at its end, so it gets one from us.
        session = {"--resume": self.resumes} if self.resumes else {"--session-id": self._new_session}
        chosen = {"--model": self._model, "--reasoning-effort": self.job.effort, **session}
        return [
            *(*self.called, "--output-format=json", "--stream=off", "--no-ask-user", "--no-auto-update"),
            *(freely if place.isolated else confined),
            *(f"--deny-tool={each.name}({tool})" for each in servers for tool in each.disabled_tools),
            *((f"--additional-mcp-config=@{place.home}/{_SERVERS}",) if servers else ()),
            *(f"{option}={value}" for option, value in chosen.items() if value),
        ]

    def files(self, place: Place) -> Mapping[str, bytes]:
        servers = {"mcpServers": as_settings(servers_of(self.job, place), local="local", tools=["*"])}
        return {**super().files(place), _SERVERS: json.dumps(servers).encode()}

    def environment(self, place: Place) -> Mapping[str, str]:
        return {
            "COPILOT_PROVIDER_BASE_URL": self.job.environment.get(*self.provider),
            "COPILOT_OFFLINE": "true",
            "COPILOT_AUTO_UPDATE": "false",
        }

    def conversation_files(self, place: Place, session_id: str) -> ConversationFiles:
        return ((".copilot/session-state", f"{session_id}/*"),)

    def read(self, event: dict[str, Any]) -> Iterable[Event]:
        given = event.get("data")
        data: dict[str, Any] = given if isinstance(given, dict) else {}
        match event.get("type"):
            case "user.message":
                self.session_id = self.resumes or self._new_session
            case "assistant.message":
                if text := text_of(data.get("content")).strip():
                    self._last = text
                    yield step(text)
            case "assistant.reasoning":
                if text := text_of(data.get("content")).strip():
                    yield step(text, "reasoning")
            case "tool.execution_start":
                tool = text_of(data.get("toolName")) or "a tool"
                yield self._calls.begin(data.get("toolCallId"), tool, data.get("arguments"))
            case "tool.execution_complete":
                said, error = data.get("result"), data.get("error")
                shown = said if isinstance(said, dict) else error if isinstance(error, dict) else {}
                answer = text_of(shown.get("content")) or text_of(shown.get("message"))
                yield self._calls.end(data.get("toolCallId"), answer, failed=data.get("success") is not True)
            case "model.call_failure":
                # This is not final: it tries again.
                message = text_of(data.get("errorMessage"))
                self.errors.add(f"{message} (status {data.get('statusCode')})")
                yield step(f"The model provider answered with an error: {message}", "system")
            case "session.error" if message := text_of(data.get("message")):
                self.failure = message
            case "session.info" if data.get("infoType") == "file_created":
                pass  # The call that created it is a step.
            case "session.warning" | "session.info" if message := text_of(data.get("message")):
                yield step(message, "system")
            case "session.compaction_complete":
                yield step("The conversation was summarised, because it became too long", "system")
            case "result":
                self.finished = event.get("exitCode") == 0
                self.result = self._last if self.finished else None
                self.usage = Usage(tool_calls=self._calls.count)
                yield self.usage
            case kind:
                yield from self.unknown.step(kind, event)
