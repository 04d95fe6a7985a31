"""What goes into the engine.

The engine is a plain library. A `Job` describes the work and a `Host` the machine. What comes out is in
`workers/events.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from workers.events import Usage
from workers.processes.lifeline import Lifeline

AcpAgents = tuple[tuple[str, tuple[str, ...]], ...]
"""Agents that speak the Agent Client Protocol: the name of each, and its command line."""
DiffKind = Literal["result", "cumulative"]


@dataclass(frozen=True)
class Limits:
    """Limits of one attempt, in seconds and bytes. Exceeding one ends the attempt with a failure code."""

    max_duration_seconds: float = 3600
    stall_seconds: float = 900
    max_output_bytes: int = 256 * 1024 * 1024
    max_line_bytes: int = 1024 * 1024
    max_steps: int = 10_000
    """Of setup and agent together. Exceeding this or the next limit only leaves out further steps."""
    max_steps_bytes: int = 16 * 1024 * 1024
    max_diff_bytes: int = 256 * 1024 * 1024
    max_diff_files: int = 50_000
    max_memory_bytes: int = 4 * 1024**3
    max_processes: int = 1024
    """Threads count as processes, as in the kernel."""
    max_cpus: float = 0
    """0: no limit."""
    max_open_files: int = 65_536
    """For each process."""
    max_file_bytes: int = 4 * 1024**3
    max_disk_bytes: int = 10 * 1024**3
    """Disk space of checkout and home together."""
    max_disk_files: int = 1_000_000
    """Files and folders in checkout and home together."""
    max_tokens: int | None = None
    """Input and output tokens, cached input included. None: no limit."""
    max_cost_usd: float | None = None
    wrap_up_at: float = 0
    """The share of these two at which the agent is asked for a summary, and then ended. 0: never."""
    max_conversation_bytes: int = 64 * 1024**2
    """Of the files in which an agent remembers its session, which are kept for a follow-up. 0: none are kept."""


Credential = str | Callable[[], str]
"""A token, or a function that makes one which is valid for a short time. It may raise EngineError."""


@dataclass(frozen=True)
class Attachment:
    """A file that the caller uploaded: its name, and a function that reads its bytes."""

    name: str
    read: Callable[[], Iterator[bytes]] = field(repr=False)


class ConversationLost(Exception):
    """What an agent remembers cannot be used. The message says why, as a sentence."""


@dataclass(frozen=True)
class Conversation:
    """The earlier sessions that this one continues from.

    `words` describes them for a model, in a bounded text. `session_id` is the agent's own id of the last one, and `state`
    reads what the engine stored of it; it may raise `ConversationLost`. Without these the words are handed over, and
    `reason` says why.
    """

    words: Callable[[], str] = field(repr=False)
    session_id: str | None = None
    state: Callable[[], Iterator[bytes]] | None = field(default=None, repr=False)
    reason: str = ""


@dataclass(frozen=True)
class BoundSecret:
    """A secret that only one host gets: in a header of the requests that the agent makes to a URL of the gateway.

    The agent has the variables `name`, a placeholder, and `name`_URL. `prefix` comes before `value` in the header.
    """

    name: str
    url: str
    """Of the host, without a path."""
    header: str
    prefix: str
    value: str = field(repr=False)


@dataclass(frozen=True)
class EarlierAttempt:
    """What an earlier attempt at the same session left, whose model took no more calls.

    `diff` reads all changes to the base until then, those of earlier sessions included. None: there are none.
    """

    diff: Callable[[], Iterator[bytes]] | None = field(default=None, repr=False)
    usage: Usage | None = None


@dataclass(frozen=True)
class Conflict:
    """What the agent is to resolve: the files have a merge of the runner's work into `tip`, the tip of `branch`."""

    branch: str
    tip: str
    files: tuple[str, ...] = ()
    """The files that conflict. Empty: those that an earlier attempt has left."""
    notes: tuple[str, ...] = ()
    """Git's words on each conflict. Not all leave markers: a file may have been deleted on one side."""

    @property
    def names(self) -> tuple[str, str]:
        """What the markers call the branch and the work of the runner. No other text has these names."""
        return f"branch-{self.tip[:12]}", f"runner-{self.tip[:12]}"


class Sink(Protocol):
    """Stores what an attempt leaves. Each method returns when all bytes are stored, or raises.

    `chunks` can be iterated more than once, so a sink can retry. `contains_secret` means that a file changed by the
    diff holds a known secret.
    """

    def write(self, kinds: Sequence[DiffKind], chunks: Iterable[bytes], *, contains_secret: bool) -> None:
        """Store a diff, which is the session's diff of each of these kinds."""
        ...

    def write_lfs_object(self, oid: str, chunks: Iterable[bytes]) -> None:
        """Store the content of a file of Git LFS, which a diff only points to by this id."""
        ...

    def write_conversation(self, chunks: Iterable[bytes]) -> None:
        """Store what the agent remembers of its session."""
        ...


class Secrets(Protocol):
    """The known secrets of a job. The caller provides them, because it knows more than those in the job."""

    def redact(self, text: str) -> str:
        """`text` without secrets."""
        ...

    def are_in(self, chunks: Iterable[bytes]) -> bool:
        """Whether the stream holds a secret."""
        ...


@dataclass(frozen=True)
class Fallback:
    """An agent that takes over where the provider of the one before accepts no calls. `model` None: its own default."""

    agent: str
    model: str | None = None


@dataclass(frozen=True)
class McpServer:
    """A server of tools that the agent is to use: a program in the sandbox, or one at a URL."""

    name: str
    command: tuple[str, ...] = ()
    url: str | None = None
    credential: str | None = None
    """The name of a secret that is bound to the host of the URL. It is added outside of the sandbox."""
    variables: tuple[str, ...] = ()
    """Names of the agent's variables that the program gets."""
    disabled_tools: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One attempt at one session, frozen when the attempt is claimed.

    Without a `branch` the remote's default branch is used. `sha` is the commit that the caller asked for; `base_sha` is
    the one that an earlier session of the runner resolved. `start_diff` reads the cumulative diff that this session
    builds on (None: the base itself). `on_interrupt` is called once when the attempt is interrupted (`SystemExit`, or
    `Interrupted` thrown into the generator), while the agent is being killed. It returns whether to keep the work so far.
    """

    site_id: str
    runner_id: str
    session_id: str
    attempt: int
    repo_url: str
    branch: str | None
    prompt: str
    agent: str
    sink: Sink
    secrets: Secrets
    lifeline: Lifeline
    on_interrupt: Callable[[], bool]
    sha: str | None = None
    base_sha: str | None = None
    start_diff: Callable[[], Iterator[bytes]] | None = field(default=None, repr=False)
    read_lfs_object: Callable[[str], Iterator[bytes]] | None = field(default=None, repr=False)
    """Reads what a session of the runner stored by `write_lfs_object`. Raises FileNotFoundError if there is none."""
    credential: Credential | None = field(default=None, repr=False)
    fetch_patience_seconds: float | None = None
    """How long to wait while another process fetches the repository. None: as long as a fetch may take."""
    model: str | None = None
    effort: str | None = None
    fallbacks: tuple[Fallback, ...] = ()
    mode: Literal["normal", "ask", "plan", "rebase"] = "normal"
    """`ask` wants an answer, and `plan` a plan, as the agent's final message, and they keep no changes. For `rebase` see
    `workers/stages/rebase.py`."""
    resolves: bool = False
    """Whether the agent resolves the conflicts of a rebase. If not, no agent runs in that mode."""
    conflict: Conflict | None = None
    """The conflict that the agent is to resolve. The session fails if a file still has markers in the end."""
    may_ask: bool = True
    """Whether the agent may end with questions to a person."""
    mcp_servers: tuple[McpServer, ...] = ()
    setup_command: str | None = None
    setup_cache_files: tuple[str, ...] | None = None
    """The files that what setup leaves depends on. None: everything that it sees. Empty: it is not used again."""
    sparse_paths: tuple[str, ...] = ()
    """The folders that are checked out, with the files beside them on the way to the root. Empty: everything."""
    partial_clone: bool = False
    """Whether only the contents of files are fetched that are needed."""
    allow_agent_configuration: bool = False
    """Whether the repository's configuration files for agents, which can run code, take effect."""
    needs_default_branch: bool = False
    """Whether to look up the remote's default branch, because the site has none yet."""
    egress_hosts: tuple[str, ...] = ()
    """Hosts that the site lets its commands reach: `host`, `*.host` or `host:port`."""
    attachments: tuple[Attachment, ...] = ()
    conversation: Conversation | None = None
    """None: this session begins one."""
    earlier: EarlierAttempt | None = None
    """The attempt that this one continues from. Its conversation is in `conversation`."""
    limits: Limits = Limits()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables for agents only, including model keys. Each agent gets only its own. Never logged."""
    bound_secrets: tuple[BoundSecret, ...] = field(default=(), repr=False)
    """Secrets that no command gets, only a host."""
    setup_environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables for the setup command only. Never logged."""
    setup_fingerprint: str = ""
    """Changes with any of these, without revealing them: what setup leaves depends on them."""


@dataclass(frozen=True)
class Host:
    """This machine, as the operator's settings describe it."""

    work_dir: Path
    sandbox: Literal["bubblewrap", "none"] = "bubblewrap"
    sandbox_uid: int = 61_000
    """The uid that agents run as if the worker is root; ignored otherwise."""
    overlay: bool = True
    """Whether checkouts may be overlays on shared files, where the machine allows it."""
    setup_cache_bytes: int = 10 * 1024**3
    """Disk space for what setup commands left, which later sessions use again. 0: nothing is kept."""
    allowed_protocols: tuple[str, ...] = ("https",)
    local_repositories: Path | None = None
    """Local paths and `file://` URLs may be cloned only from below this folder."""
    fetch_timeout_seconds: float = 900
    max_fetch_bytes: int = 10 * 1024**3
    """The most that one fetch may add to a mirror."""
    max_git_memory_bytes: int = 2 * 1024**3
    """For each git process outside of the sandbox; in a control group for all of a command."""
    isolate_git: bool = True
    """Whether git that contacts a remote is kept from the files and processes that it does not need."""
    egress_hosts: tuple[str, ...] = ()
    """Hosts that every sandbox may reach, even at private addresses, in the form of `Job.egress_hosts`."""
    allow_private_addresses: bool = False
    """Whether repositories and the hosts named by sites may have private addresses."""
    acp_agents: AcpAgents = ()
    model_patience_seconds: float = 60.0
    """For how long the provider of a model may refuse an agent's calls in a row before the agent is stopped."""
    prices_file: Path | None = None
    """The operator's price list of models. None: that of the library."""
    committer: str = "Agent Runners <agent-runners@noreply.invalid>"
    """Who commits what is published, beside the authors."""
    signing_key: Path | None = None
    """File of the SSH key that signs these commits. None: they are not signed."""
    resolve: tuple[tuple[str, str], ...] = ()
    """Host names with addresses that override the resolver."""
