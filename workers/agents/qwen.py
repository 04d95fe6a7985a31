"""Qwen Code, the agent of Alibaba's Qwen, from npm. It works with any model behind OpenAI's Chat Completions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workers.agents.base import ConversationFiles
from workers.agents.claude_stream import ClaudeStreamAgent, folder_of
from workers.agents.tool_servers import as_settings, servers_of
from workers.events import Event, Step
from workers.sandbox import Place


class QwenAgent(ClaudeStreamAgent):
    """`qwen` with a stream of JSON, which has the form of Claude Code's."""

    name = "qwen"
    label = "Qwen Code"
    program = "qwen"
    install = "npm install -g @qwen-code/qwen-code"
    version = "qwen_code_version"
    counts_cached_twice = True
    variables = ("OPENAI_", "QWEN_")
    key = "OPENAI_API_KEY"
    provider = ("OPENAI_BASE_URL", "https://api.openai.com/v1")
    api = "openai"
    speaks_mcp = True

    def command(self, place: Place) -> Sequence[str]:
        # Inside the sandbox it may do everything. Without one it may edit files, but not run any command.
        mode = "yolo" if place.isolated else "auto-edit"
        chosen = {"--model": self.job.model, "--resume": self.resumes}
        return [
            *(*self.called, "--auth-type=openai", f"--approval-mode={mode}", "--output-format=stream-json"),
            f"--include-directories={place.attachments}",
            *(f"{option}={value}" for option, value in chosen.items() if value),
        ]

    def environment(self, place: Place) -> Mapping[str, str]:
        return {"OPENAI_BASE_URL": self.job.environment.get(*self.provider), "QWEN_CODE_SUPPRESS_YOLO_WARNING": "1"}

    def files(self, place: Place) -> Mapping[str, bytes]:
        settings = {
            "general": {"disableAutoUpdate": True, "enableAutoUpdate": False},
            "privacy": {"usageStatisticsEnabled": False},
            "telemetry": {"enabled": False},
            # It would ask whether it may use what it does not trust, and hide tools behind a search for them.
            "mcpServers": as_settings(
                servers_of(self.job, place), url="httpUrl", excluded="excludeTools", trust=True, alwaysLoadTools=True
            ),
        }
        return {**super().files(place), ".qwen/settings.json": json.dumps(settings).encode()}

    def read(self, event: dict[str, Any]) -> Iterable[Event]:
        data = event.get("data")
        if event.get("type") == "system" and isinstance(data, dict):
            # Claude Code has these fields beside `subtype`.
            event = {**data, **{name: value for name, value in event.items() if name != "data"}}
        match event:
            case {"type": "system", "subtype": "retry"}:
                if event.get("reason") != "model_fallback":
                    yield Step(f"{self.label} calls its model again", category="system")
            case {"type": "system", "subtype": "model_fallback", "fromModel": str(before), "toModel": str(after)}:
                yield Step(f"{self.label} goes on with {after} in the place of {before}", category="system")
            case _:
                yield from super().read(event)

    def conversation_files(self, place: Place, session_id: str) -> ConversationFiles:
        return ((f".qwen/projects/{folder_of(place.checkout)}/chats", f"{session_id}.*"),)
