"""mini-swe-agent, from its wheel. It works with any model behind OpenAI's Chat Completions."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workers.agents import mini_driver
from workers.agents.base import chosen_model
from workers.agents.plain_output import step
from workers.agents.programs import Installed, own_folder
from workers.agents.stream import StreamAgent
from workers.agents.tools import Calls
from workers.agents.values import cost_of, count_of, objects, text_of
from workers.events import Event, Usage
from workers.job import Job
from workers.sandbox import Place

_DRIVER = ".agent-runners/mini_driver.py"
_SUBMITTED = "Submitted"


class MiniSweAgent(StreamAgent):
    """Its Python runs `mini_driver`, which prints a stream of JSON."""

    name = "mini-swe-agent"
    label = "mini-swe-agent"
    program = "mini"
    install = "pipx install mini-swe-agent"
    variables = ("OPENAI_", "MSWEA_")
    key = "OPENAI_API_KEY"
    provider = ("OPENAI_BASE_URL", "https://api.openai.com/v1")
    api = "openai"

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._model = chosen_model(job, self.label, "OPENAI_MODEL")
        self._calls = Calls(job.secrets)
        self._input = self._output = self._cached = 0
        self._last: str | None = None

    @classmethod
    def find(cls) -> Installed | None:
        """Its Python: that of bin/install-agents, or else that of the `mini` on PATH."""
        own = own_folder(cls.name) / "bin" / "python"
        python = own if own.exists() else _interpreter_of(shutil.which(cls.program))
        if python is None or not python.exists():
            return None
        around = (python.parent.parent, python.resolve().parent.parent)
        return Installed((str(python),), around)

    def command(self, place: Place) -> Sequence[str]:
        limit = self.job.limits.max_cost_usd or 0
        return [*self.called, f"{place.home}/{_DRIVER}", f"openai/{self._model}", f"{limit:f}"]

    def environment(self, place: Place) -> Mapping[str, str]:
        return {
            "OPENAI_BASE_URL": self.job.environment.get(*self.provider),
            # It fetches a list of prices from a host that the sandbox refuses.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "MSWEA_COST_TRACKING": "ignore_errors",
            "MSWEA_SILENT_STARTUP": "1",
            # By default it retries for minutes.
            "MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT": "4",
        }

    def files(self, place: Place) -> Mapping[str, bytes]:
        return {_DRIVER: Path(mini_driver.__file__).read_bytes()}

    def read(self, event: dict[str, Any]) -> Iterable[Event]:
        match event.get("role"):
            case "assistant":
                if text := text_of(event.get("content")).strip():
                    self._last = text
                    yield step(text)
                for action in objects(event.get("actions")):
                    yield self._calls.begin(action.get("tool_call_id"), "bash", action)
                yield self._count(event)
            case "tool":
                said = text_of(event.get("raw_output")) or text_of(event.get("exception_info"))
                yield self._calls.end(event.get("tool_call_id"), said, failed=event.get("returncode") != 0)
            case "exit":
                self.finished = event.get("exit_status") == _SUBMITTED
                said = text_of(event.get("content")).strip()
                if self.finished:
                    self.result = said or self._last
                    yield from [step(said)] if said else []
                else:
                    self.failure = f"{text_of(event.get('exit_status'))}: {said}"
            case "user" if text := text_of(event.get("content")).strip():
                # Its answer to a reply of the model that it cannot use.
                yield step(text, "system")
            case role:
                yield from self.unknown.step(role, event)

    def _count(self, event: dict[str, Any]) -> Usage:
        given = event.get("usage")
        usage: dict[str, Any] = given if isinstance(given, dict) else {}
        given = usage.get("prompt_tokens_details")
        details: dict[str, Any] = given if isinstance(given, dict) else {}
        self._input += count_of(usage.get("prompt_tokens")) or 0
        self._output += count_of(usage.get("completion_tokens")) or 0
        self._cached += count_of(details.get("cached_tokens")) or 0
        self.usage = Usage(
            input_tokens=count_of(self._input),
            output_tokens=count_of(self._output),
            cached_input_tokens=count_of(self._cached),
            # It says 0 for a model whose price it does not know.
            cost_usd=cost_of(event.get("cost")) or None,
            tool_calls=self._calls.count,
        )
        return self.usage


def _interpreter_of(script: str | None) -> Path | None:
    """The Python of a script that pip or pipx installed."""
    if script is None:
        return None
    first = Path(script).read_bytes().partition(b"\n")[0]
    return Path(first[2:].decode(errors="replace").strip()) if first.startswith(b"#!") else None
