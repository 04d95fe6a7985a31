"""What goes into the engine and what comes out of it.

The engine is a plain library: a `Job` is all it is told about the work, a `Host` all it is told about the
machine, and it answers with events while it works and with one `Outcome` at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from workers.errors import EngineError
from workers.processes.lifeline import Lifeline

DiffKind = Literal["result", "cumulative"]


@dataclass(frozen=True)
class Step:
    """One thing the agent, or the engine on its behalf, reports."""

    title: str
    message: str = ""


@dataclass(frozen=True)
class Refusal(Step):
    """The step that tells of connections which the proxy of the sandbox did not let through, and how many."""

    times: int = 1


@dataclass(frozen=True)
class Usage:
    """What the attempt has consumed so far: totals, never increments. None means the agent did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cost_usd: float | None = None
    tool_calls: int | None = None


@dataclass(frozen=True)
class Based:
    """The commit and branch that the checkout stands on, reported once, before the agent starts."""

    base_sha: str
    branch: str


Event = Step | Usage | Based


@dataclass(frozen=True)
class Limits:
    """Caps on one attempt. Seconds and bytes; the engine ends the attempt with a failure code when one is passed."""

    max_duration_seconds: float = 3600
    stall_seconds: float = 900
    max_output_bytes: int = 256 * 1024 * 1024
    max_line_bytes: int = 1024 * 1024
    max_steps: int = 10_000
    """Of setup and agent together. Passing this or the next ends nothing: what comes after is left out."""
    max_steps_bytes: int = 16 * 1024 * 1024
    max_diff_bytes: int = 256 * 1024 * 1024
    max_diff_files: int = 50_000
    max_memory_bytes: int = 4 * 1024**3
    max_processes: int = 1024
    """Threads count, as they do for the kernel."""
    max_cpus: float = 0
    """0: as many as there are."""
    max_open_files: int = 65_536
    """For each process."""
    max_file_bytes: int = 4 * 1024**3
    max_disk_bytes: int = 10 * 1024**3
    """What checkout and home may take up on the disk together."""
    max_disk_files: int = 1_000_000
    """Files and folders in checkout and home together."""
    max_tokens: int | None = None
    """What goes into the model and comes out of it, cached input included. None: no limit."""
    max_cost_usd: float | None = None


@dataclass(frozen=True)
class Attachment:
    """A file that the caller uploaded: its plain name and a way to read its bytes."""

    name: str
    read: Callable[[], Iterator[bytes]] = field(repr=False)


class DiffSink(Protocol):
    """Where diffs go: the bytes are stored completely before `write` returns, or it raises.

    Each time that `chunks` are gone through they start anew, so that a sink can try again.
    `contains_secret` says that a file which the diff leaves behind holds a secret that is known.
    """

    def write(self, kind: DiffKind, chunks: Iterable[bytes], *, contains_secret: bool) -> None: ...


class Secrets(Protocol):
    """What must not be told. It is known to those who hand out jobs, as they hold more secrets than one."""

    def redact(self, text: str) -> str:
        """`text` without secrets."""
        ...

    def are_in(self, chunks: Iterable[bytes]) -> bool:
        """Whether a secret stands in the stream."""
        ...


@dataclass(frozen=True)
class Job:
    """One attempt at one session, frozen when the attempt is claimed.

    Without a `branch` the remote's default one is taken. `sha` is the commit the caller asked for, `base_sha` the one that an earlier session of the runner resolved;
    `start_diff` reads the cumulative diff that this session builds on (None: the base itself). `on_interrupt` is
    called once when the attempt is interrupted (`SystemExit`, or `Interrupted` thrown into the generator), before
    the agent is killed, and says whether the work so far is to be kept.
    """

    site_id: str
    runner_id: str
    session_id: str
    attempt: int
    repo_url: str
    branch: str | None
    prompt: str
    agent: str
    sink: DiffSink
    secrets: Secrets
    lifeline: Lifeline
    on_interrupt: Callable[[], bool]
    sha: str | None = None
    base_sha: str | None = None
    start_diff: Callable[[], Iterator[bytes]] | None = field(default=None, repr=False)
    credential: str | None = field(default=None, repr=False)
    model: str | None = None
    effort: str | None = None
    mode: Literal["normal", "ask"] = "normal"
    setup_command: str | None = None
    allow_agent_configuration: bool = False
    """Whether files of the repository that configure agents, and by that can run code, take effect."""
    egress_hosts: tuple[str, ...] = ()
    """What the site lets its commands reach: `host`, `*.host` or `host:port`."""
    attachments: tuple[Attachment, ...] = ()
    limits: Limits = Limits()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables for agents alone, model keys among them; each agent gets what is meant for it. Never logged."""


@dataclass(frozen=True)
class Host:
    """This machine, as the operator's settings describe it."""

    work_dir: Path
    sandbox: Literal["bubblewrap", "none"] = "bubblewrap"
    sandbox_uid: int = 61_000
    """The uid that agents run as where the worker is root; ignored otherwise."""
    allowed_protocols: tuple[str, ...] = ("https",)
    local_repositories: Path | None = None
    """Only below this folder may a local path or `file://` be cloned."""
    fetch_timeout_seconds: float = 900
    egress_hosts: tuple[str, ...] = ()
    """What every sandbox may reach, at private addresses too, in the forms of `Job.egress_hosts`."""
    allow_private_addresses: bool = False
    """Whether repositories and the hosts that sites name may be at private addresses."""
    resolve: tuple[tuple[str, str], ...] = ()
    """Names and addresses that outrank the resolver's."""


@dataclass(frozen=True)
class Outcome:
    """How the attempt ended. `failure` None and `interrupted` False is success, with or without a change.

    `has_result_diff` and `has_cumulative_diff` say what the sink holds; work done before a failure or an
    interruption counts. `result` is the agent's last word, `title` a name for what it did, where it gave them.
    """

    failure: EngineError | None = None
    interrupted: bool = False
    base_sha: str | None = None
    has_result_diff: bool = False
    has_cumulative_diff: bool = False
    result: str | None = None
    title: str | None = None
    usage: Usage | None = None
