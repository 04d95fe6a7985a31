"""The state machines of sessions and runners.

session   NEW -> RUNNING -> DONE | ERROR | CANCELLED        NEW -> CANCELLED | ERROR        the last three are final
runner    a function of its sessions, written in the same transaction; ARCHIVED is the only state set by hand
"""

from __future__ import annotations

import enum


class SessionState(enum.StrEnum):
    NEW = "NEW"
    RUNNING = "RUNNING"
    ERROR = "ERROR"
    DONE = "DONE"
    CANCELLED = "CANCELLED"


class Stage(enum.StrEnum):
    """What is being done for a session that is NEW or RUNNING."""

    QUEUED = "queued"
    FETCHING = "fetching"
    PREPARING = "preparing"
    SETUP = "setup"
    AGENT = "agent"
    SAVING = "saving"


class StepCategory(enum.StrEnum):
    """What a step is about. SYSTEM is what the product itself says, TOOL any other tool of the agent."""

    MESSAGE = "message"
    COMMAND = "command"
    READ = "read"
    EDIT = "edit"
    SEARCH = "search"
    PLAN = "plan"
    TODO = "todo"
    QUESTION = "question"
    WEB = "web"
    TOOL = "tool"
    REASONING = "reasoning"
    SYSTEM = "system"


# What steps lack that were recorded before they had a category.
UNCATEGORIZED = {"category": StepCategory.MESSAGE.value, "ref": None}


class WaitingReason(enum.StrEnum):
    """Why a session that is NEW has not started yet."""

    QUEUED = "queued"
    ACCOUNT_LIMIT = "account_limit"
    SITE_LIMIT = "site_limit"
    NO_WORKER = "no_worker"


class RunnerState(enum.StrEnum):
    NEW = "NEW"
    RUNNING = "RUNNING"
    ERROR = "ERROR"
    DONE = "DONE"
    ARCHIVED = "ARCHIVED"


class Mode(enum.StrEnum):
    NORMAL = "normal"
    ASK = "ask"


class DiffKind(enum.StrEnum):
    """What a session alone changed, or all up to and including it."""

    RESULT = "result"
    CUMULATIVE = "cumulative"


class FileStatus(enum.StrEnum):
    """What a diff does to a file."""

    ADDED = "added"
    COPIED = "copied"
    DELETED = "deleted"
    MODIFIED = "modified"
    RENAMED = "renamed"


class Scope(enum.StrEnum):
    READ = "read"
    WRITE = "write"
    WORKER = "worker"
    ADMIN = "admin"


class TokenPurpose(enum.StrEnum):
    """What a token is for: the API, a session of the console, or a link that begins one."""

    API = "api"
    CONSOLE = "console"
    LINK = "link"


class Forge(enum.StrEnum):
    GITHUB = "github"
    GITLAB = "gitlab"
    GITEA = "gitea"
    BITBUCKET = "bitbucket"
    NONE = "none"


class Execution(enum.StrEnum):
    INTERNAL = "internal"
    EXTERNAL = "external"


class PullRequestState(enum.StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    MERGED = "merged"
    DRAFT = "draft"


class PublicationKind(enum.StrEnum):
    PULL_REQUEST = "pull_request"
    COMMIT = "commit"


class PublicationState(enum.StrEnum):
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


ACTIVE = frozenset({SessionState.NEW, SessionState.RUNNING})
FINAL = frozenset({SessionState.DONE, SessionState.ERROR, SessionState.CANCELLED})

# A session whose worker was drained or lost also returns from RUNNING to NEW. Callers cannot request that.
MOVES = {
    SessionState.NEW: frozenset({SessionState.RUNNING, SessionState.CANCELLED, SessionState.ERROR}),
    SessionState.RUNNING: FINAL,
    SessionState.DONE: frozenset(),
    SessionState.ERROR: frozenset(),
    SessionState.CANCELLED: frozenset(),
}


def may_move(old: SessionState, new: SessionState) -> bool:
    """Whether a caller may move a session from state `old` to `new`."""
    return new in MOVES[old]


def runner_state(active: SessionState | None, latest_kept: SessionState | None) -> RunnerState:
    """The state of a runner that is not archived.

    An active session decides; else the latest session that is neither cancelled nor discarded; else DONE.
    """
    return RunnerState(active or latest_kept or RunnerState.DONE)


class WebhookState(enum.StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"


class WebhookEvent(enum.StrEnum):
    """What webhooks tell others about."""

    SESSION_STARTED = "session.started"
    SESSION_DONE = "session.done"
    SESSION_ERROR = "session.error"
    SESSION_CANCELLED = "session.cancelled"
    RUNNER_ARCHIVED = "runner.archived"
    PUBLICATION_SUCCEEDED = "publication.succeeded"
    PUBLICATION_FAILED = "publication.failed"


class DeliveryState(enum.StrEnum):
    """PENDING is tried again until it is DELIVERED or has FAILED for a day."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
