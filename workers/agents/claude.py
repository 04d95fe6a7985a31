"""Claude Code, the agent of Anthropic, from npm or a wheel that bundles it. It is proprietary: who installs it accepts
its terms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workers.agents.plain_output import step
from workers.agents.stream import StreamAgent
from workers.agents.tools import Calls
from workers.agents.values import cost_of, count_of, objects, text_of
from workers.errors import EngineError
from workers.job import Event, Job, Step, Usage
from workers.sandbox import Place

_RETRIES = "CLAUDE_CODE_MAX_RETRIES"
_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
# How many messages are remembered whose parts may still arrive: of the main agent and of parallel subagents.
_REMEMBERED = 1000


class ClaudeAgent(StreamAgent):
    """`claude -p` with a stream of JSON."""

    name = "claude"
    label = "Claude Code"
    program = "claude"
    wheel = "claude_agent_sdk/_bundled"
    install = "npm install -g @anthropic-ai/claude-code"
    variables = ("ANTHROPIC_", "CLAUDE_")
    key = "ANTHROPIC_API_KEY"
    provider = ("ANTHROPIC_BASE_URL", "https://api.anthropic.com")

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._calls = Calls(job.secrets)
        self._messages: dict[str, Counter[str]] = {}
        self._totals: Counter[str] = Counter()

    def command(self, place: Place) -> Sequence[str]:
        # Inside the sandbox it may do everything. Without one it may edit files, but not run any command.
        permission = "bypassPermissions" if place.isolated else "acceptEdits"
        # It knows the cost of each call, but reports the cost to us only at its end.
        budget = self.job.limits.max_cost_usd
        chosen = {"--model": self.job.model, "--effort": self.job.effort, "--max-budget-usd": budget and f"{budget:f}"}
        return [
            *(*self.called, "-p", "--output-format", "stream-json", "--verbose"),
            *("--permission-mode", permission, f"--add-dir={place.attachments}"),
            *(f"{option}={value}" for option, value in chosen.items() if value),
        ]

    def environment(self, place: Place) -> Mapping[str, str]:
        variables = {
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            # By default it retries for over a minute, even if the key is wrong.
            _RETRIES: self.job.environment.get(_RETRIES, "4"),
        }
        return {**variables, "IS_SANDBOX": "1"} if place.isolated else variables

    def read(self, event: dict[str, Any]) -> Iterable[Event]:
        match event:
            case {"type": "system", "subtype": "init"}:
                version = text_of(event.get("claude_code_version"))
                yield Step(f"Claude Code {version} started".replace("  ", " "), f"Model: {event.get('model')}")
            case {"type": "system", "subtype": "api_retry"}:
                yield Step(
                    f"The model provider answered with an error: {event.get('error')}", "Claude Code tries again."
                )
            case {"type": "assistant", "message": dict(message)}:
                yield from self._message(message)
            case {"type": "user", "message": dict(message)}:
                for block in objects(message.get("content")):
                    if block.get("type") == "tool_result":
                        answer = text_of(block.get("content"))
                        answer = answer.removeprefix("<tool_use_error>").removesuffix("</tool_use_error>")
                        yield self._calls.end(block.get("tool_use_id"), answer, failed=bool(block.get("is_error")))
            case {"type": "result"}:
                yield self._finish(event)
                if event.get("subtype") == "error_max_budget_usd":
                    limit = self.job.limits.max_cost_usd
                    reason = str(self.failure)
                    if limit:
                        reason = f"Claude Code reached the limit of {limit:.4g} US dollars. Raise limits.max_cost_usd."
                    raise EngineError("budget_limit", "agent", reason)

    def _message(self, message: dict[str, Any]) -> Iterable[Event]:
        for block in objects(message.get("content")):
            match block:
                case {"type": "text", "text": str(text)} if text.strip():
                    yield step(text)
                case {"type": "thinking", "thinking": str(text)} if text.strip():
                    yield step(text, "reasoning")
                case {"type": "tool_use", "name": str(tool)}:
                    yield self._calls.begin(block.get("id"), tool, block.get("input"))
        # A message arrives in parts, and each part repeats the usage of the message so far.
        usage, known = message.get("usage"), str(message.get("id"))
        if isinstance(usage, dict) and self._messages.get(known) != (counts := _counts_of(usage)):
            self._totals.update(counts)
            self._totals.subtract(self._messages.pop(known, {}))
            self._messages[known] = counts
            if len(self._messages) > _REMEMBERED:
                del self._messages[next(iter(self._messages))]
            self.usage = self._sum(self._totals)
            yield self.usage

    def _finish(self, event: dict[str, Any]) -> Usage:
        # `subtype` is "success" even where it failed.
        said = text_of(event.get("result"))
        if event.get("is_error") or event.get("subtype") != "success":
            errors = event.get("errors")
            reasons = [str(each) for each in errors] if isinstance(errors, list) else []
            self.failure = said or "\n".join(reasons) or f"It ended with {event.get('subtype')}."
        else:
            self.finished = True
            self.result = said or None
        usage = event.get("usage")
        counts = _counts_of(usage) if isinstance(usage, dict) else self._totals
        self.usage = self._sum(counts, cost_of(event.get("total_cost_usd")))
        return self.usage

    def _sum(self, counts: Counter[str], cost: float | None = None) -> Usage:
        """The usage. Anthropic counts cache reads and writes separately; here both are input."""
        fresh, written, cached, output = (counts[name] for name in _COUNTS)
        return Usage(count_of(fresh + written + cached), count_of(output), count_of(cached), cost, self._calls.count)


def _counts_of(usage: dict[str, Any]) -> Counter[str]:
    return Counter({name: count_of(usage.get(name)) or 0 for name in _COUNTS})
