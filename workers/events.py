"""What comes out of the engine: it yields events while it works and returns one `Outcome` at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from workers.errors import EngineError

_LISTED = 100
Category = Literal[
    "message",
    "command",
    "read",
    "edit",
    "search",
    "plan",
    "todo",
    "question",
    "web",
    "tool",
    "reasoning",
    "system",
]


@dataclass(frozen=True)
class Step:
    """One step reported by the agent, or by the engine."""

    title: str
    message: str = ""
    category: Category = field(default="system", kw_only=True)
    """What it is about. `tool` is any other tool of the agent, `system` what the engine itself says."""
    ref: str | None = field(default=None, kw_only=True)
    """The agent's own id of the call that it belongs to: a call and its result have the same."""
    of_agent: bool = field(default=False, kw_only=True, compare=False)
    """Whether the agent itself reported it, rather than the engine or the setup command."""


def listed(lines: Sequence[str]) -> str:
    """The detail of a step that names many things: the first 100, and how many more there are."""
    more = [f"and {len(lines) - _LISTED:,} more"] if len(lines) > _LISTED else []
    return "\n".join([*lines[:_LISTED], *more])


@dataclass(frozen=True)
class Refusal(Step):
    """The step for connections that the sandbox's proxy refused, with their number."""

    times: int = 1


@dataclass(frozen=True)
class Recreation(Step):
    """The step for the worker's copy of the repository, which was damaged and has been recreated."""


@dataclass(frozen=True)
class Usage:
    """What the attempt has consumed so far: totals, not increments. None means that the agent did not report it."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cost_usd: float | None = None
    tool_calls: int | None = None

    def after(self, earlier: Usage | None) -> Usage:
        """The totals of both. The cost is not known unless it is of both."""
        if earlier is None:
            return self
        cost = None if self.cost_usd is None or earlier.cost_usd is None else self.cost_usd + earlier.cost_usd
        return Usage(
            _sum(self.input_tokens, earlier.input_tokens),
            _sum(self.output_tokens, earlier.output_tokens),
            _sum(self.cached_input_tokens, earlier.cached_input_tokens),
            cost,
            _sum(self.tool_calls, earlier.tool_calls),
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)


@dataclass(frozen=True)
class BaseCommit:
    """The commit and branch that the checkout is based on, reported once, before the agent starts.

    `default_branch` is the remote's default branch if it was looked up.
    """

    base_sha: str
    branch: str
    default_branch: str | None = None


@dataclass(frozen=True)
class Progress:
    """The part of its work that the attempt begins now. `setup` is left out without a setup command."""

    stage: Literal["fetching", "preparing", "setup", "agent", "saving"]


@dataclass(frozen=True)
class BudgetWarning:
    """Most of the session's own budget is used. Reported once in an attempt."""

    message: str


@dataclass(frozen=True)
class Takeover:
    """Another agent goes on with the work. `model` None: its own default."""

    agent: str
    model: str | None = None


Event = Step | Usage | BaseCommit | Progress | BudgetWarning | Takeover


@dataclass(frozen=True)
class Question:
    """What an agent asks a person, and the answers that it offers. The person may give another one."""

    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How the attempt ended. `failure` None and `interrupted` False is success, with or without a change.

    `has_result_diff` and `has_cumulative_diff` say which diffs the sink holds, including work done before a failure or
    an interruption; `saved` says that the sink holds all of the attempt's work. `result` is the agent's final message and
    `title` its name for the change, if it reported them. `session_id` is the agent's own id of its session, and
    `agent_version` the version of its program, where known. `questions` are what the agent wants to know before it can
    continue.
    """

    failure: EngineError | None = None
    interrupted: bool = False
    base_sha: str | None = None
    has_result_diff: bool = False
    has_cumulative_diff: bool = False
    saved: bool = False
    result: str | None = None
    title: str | None = None
    usage: Usage | None = None
    session_id: str | None = None
    agent_version: str | None = None
    questions: tuple[Question, ...] = ()
