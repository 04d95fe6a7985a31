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
    FETCH = "fetch"
    NO_WORKER = "no_worker"
    QUOTA = "quota"


class OnQuota(enum.StrEnum):
    """What happens to a session of a site whose model accepts no more calls, and which no other agent can take over."""

    FAIL = "fail"
    WAIT = "wait"


class RunnerState(enum.StrEnum):
    NEW = "NEW"
    RUNNING = "RUNNING"
    ERROR = "ERROR"
    DONE = "DONE"
    ARCHIVED = "ARCHIVED"


class Mode(enum.StrEnum):
    """What a session is for: to change files, to answer, or to say how it would change them. Only the first keeps changes.
    REBASE reapplies the runner's diff on the tip of its branch, without an agent unless one resolves conflicts."""

    NORMAL = "normal"
    ASK = "ask"
    PLAN = "plan"
    REBASE = "rebase"


class Resolver(enum.StrEnum):
    """Who resolves the conflicts of a rebase."""

    AGENT = "agent"


class HookDeliveryState(enum.StrEnum):
    """IGNORED does not meet the conditions of the hook, WAITING waits for its runner, FAILED could not be started then."""

    STARTED = "started"
    IGNORED = "ignored"
    WAITING = "waiting"
    FAILED = "failed"


class Overlap(enum.StrEnum):
    """What to do at a time of a schedule whose runner of the time before has not ended.

    SKIP leaves it out, QUEUE waits until that runner is done, REPLACE stops its session.
    """

    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"


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


class Role(enum.StrEnum):
    """What a member of an account may do: read, work with runners, or everything. Tokens never allow more."""

    VIEWER = "viewer"
    MEMBER = "member"
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
    AZURE_DEVOPS = "azure_devops"
    BITBUCKET = "bitbucket"
    BITBUCKET_DATA_CENTER = "bitbucket_data_center"
    NONE = "none"


class ForgeAccountState(enum.StrEnum):
    """Whether the forge has said whose account it is: not yet, it has, or it did not."""

    PENDING = "PENDING"
    CONNECTED = "CONNECTED"
    FAILED = "FAILED"


class SensitiveFiles(enum.StrEnum):
    """What happens to a change of files that run code elsewhere, or that decide who reviews: its pull request points to
    them, or it is not published."""

    WARN = "warn"
    REFUSE = "refuse"


class Execution(enum.StrEnum):
    INTERNAL = "internal"
    EXTERNAL = "external"


class PullRequestState(enum.StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    MERGED = "merged"
    DRAFT = "draft"


class ChecksState(enum.StrEnum):
    """FAILING has a failed check, PENDING one that has not ended."""

    PASSING = "passing"
    FAILING = "failing"
    PENDING = "pending"


class PublicationKind(enum.StrEnum):
    PULL_REQUEST = "pull_request"
    COMMIT = "commit"


class PublicationState(enum.StrEnum):
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


PROMPT_MODES = (Mode.NORMAL, Mode.ASK, Mode.PLAN)
"""The modes that somebody can choose with a prompt."""
ACTIVE = frozenset({SessionState.NEW, SessionState.RUNNING})
LIVE = (RunnerState.NEW, RunnerState.RUNNING)
"""The states of runners with a session in progress."""
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
    SESSION_STEP = "session.step"
    SESSION_DONE = "session.done"
    SESSION_ERROR = "session.error"
    SESSION_CANCELLED = "session.cancelled"
    RUNNER_ARCHIVED = "runner.archived"
    PUBLICATION_SUCCEEDED = "publication.succeeded"
    PUBLICATION_FAILED = "publication.failed"
    BUDGET_WARNING = "budget.warning"


class WebhookFormat(enum.StrEnum):
    """What a webhook sends: the event for programs, or a message for people, to a chat or by e-mail."""

    JSON = "json"
    SLACK = "slack"
    DISCORD = "discord"
    TEAMS = "teams"
    NTFY = "ntfy"
    EMAIL = "email"


class DeliveryState(enum.StrEnum):
    """PENDING is tried again until it is DELIVERED or has FAILED for a day."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class VariableStage(enum.StrEnum):
    """Which commands of a session get a variable."""

    SETUP = "setup"
    AGENT = "agent"
    BOTH = "both"


class BudgetPeriod(enum.StrEnum):
    """Over which time a budget counts."""

    DAY = "day"
    MONTH = "month"


class ForgeEvent(enum.StrEnum):
    """What a forge tells: that a pull request has changed, that somebody wrote about it, that its checks have ended, or that
    somebody asks for work on an issue."""

    PULL_REQUEST = "pull_request"
    COMMENT = "comment"
    REVIEW = "review"
    CHECKS = "checks"
    ISSUE = "issue"


class OnFailedChecks(enum.StrEnum):
    """What happens to a pull request whose checks have failed: nothing, a comment that says how to ask for a follow-up, or
    that follow-up."""

    OFF = "off"
    SUGGEST = "suggest"
    AUTOMATIC = "automatic"


class ForgeDeliveryState(enum.StrEnum):
    """PENDING has something to be read from or written to the forge, and is tried again until that succeeds or FAILED.

    WAITING waits for its runner, which is at work, STARTED for the session that was created for it, or for the work of that
    to be published. IGNORED was a request that is not followed.
    """

    PENDING = "pending"
    WAITING = "waiting"
    STARTED = "started"
    DONE = "done"
    IGNORED = "ignored"
    FAILED = "failed"
