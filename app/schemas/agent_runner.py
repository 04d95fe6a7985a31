"""Runners in JSON."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, post_load

from app.errors import invalid
from app.models.states import (
    LIVE,
    PROMPT_MODES,
    ChecksState,
    Mode,
    PullRequestState,
    Resolver,
    RunnerState,
    SessionState,
    WaitingReason,
)
from app.schemas.base import Body, PageQuery, Query, Schema, UserSchema
from app.schemas.choices import Choice, Choices
from app.schemas.fields import (
    NOT_BLANK,
    Amount,
    Bound,
    Cost,
    Flag,
    InlineDiff,
    Moment,
    Names,
    Pattern,
    Prompt,
    Reference,
    Text,
    Whole,
    items,
)

NAME_LIKE = Pattern(
    r"^[A-Za-z0-9][A-Za-z0-9 ._:/@+\[\]()-]*$",
    error="must begin with a letter or digit and have only letters, digits, spaces and ._:/@+[]()-",
)
SHA = Pattern(r"^[0-9a-fA-F]{7,64}$", error="must be a commit id of 7 to 64 hexadecimal digits")


class UsageSchema(Schema):
    """What was consumed. Null: not reported."""

    input_tokens = fields.Integer(required=True, allow_none=True)
    output_tokens = fields.Integer(required=True, allow_none=True)
    cached_input_tokens = fields.Integer(required=True, allow_none=True)
    cost_usd = Cost(required=True, allow_none=True)
    tool_calls = fields.Integer(required=True, allow_none=True)

    def get_attribute(self, obj: Any, attr: str, default: Any) -> Any:
        """Show a missing number as null instead of leaving it out."""
        return obj.get(attr)


class WaitingSchema(Schema):
    """Why a session has not started yet."""

    reason = Choice(WaitingReason, required=True)
    position = fields.Integer(required=True)
    until = Moment(required=True, allow_none=True)


class LimitsSchema(Schema):
    """The limits that a session runs under."""

    max_duration_seconds = fields.Integer(required=True, allow_none=True)
    max_cost_usd = Cost(required=True, allow_none=True)
    max_tokens = fields.Integer(required=True, allow_none=True)


class QuestionSchema(Schema):
    """A question of the agent. An answer need not be one of its choices."""

    id = fields.UUID(required=True)
    question = fields.String(required=True)
    choices = fields.List(fields.String(), required=True)


class FailedCheckSchema(Schema):
    """A check that failed. Null: it has no page."""

    name = fields.String(required=True)
    url = fields.String(required=True, allow_none=True)


class PullRequestChecksSchema(Schema):
    """How many checks of a pull request's newest commit have which outcome on the forge. At most 20 failures are named."""

    state = Choice(ChecksState, required=True)
    passed = fields.Integer(required=True)
    failed = fields.Integer(required=True)
    pending = fields.Integer(required=True)
    failures = fields.List(fields.Nested(FailedCheckSchema), required=True)


class LimitsBody(Body):
    """Requested limits. The limits of the site are never exceeded."""

    max_duration_seconds = Whole(least=1, allow_none=True, metadata={"example": 1800})
    max_cost_usd = Amount(above=0, allow_none=True, metadata={"example": 2.5})
    max_tokens = Whole(least=1, most=2**53 - 1, allow_none=True)


class PromptBody(Body):
    """The fields of every request for a session."""

    prompt = Prompt(required=True, metadata={"example": "Add a health endpoint."})
    agent = Text(100, least=1, allow_none=True)
    model = Text(200, least=1, allow_none=True, validate=[NAME_LIKE])
    effort = Text(50, least=1, allow_none=True, validate=[NAME_LIKE])
    mode = Choice(Mode, among=PROMPT_MODES, allow_none=True)
    file_keys = fields.List(Text(1000, least=1), allow_none=True, validate=items(100))
    limits = fields.Nested(LimitsBody, allow_none=True)
    may_ask = Flag()


class CreateRunnerBody(PromptBody):
    """A new runner and its first session."""

    site_id = Reference(required=True)
    branch = Text(255, least=1, allow_none=True)
    sha = Text(64, allow_none=True, validate=[SHA])
    title = Text(500, least=1, allow_none=True, validate=[NOT_BLANK])
    parent_agent_runner_id = Reference(allow_none=True)
    base_deploy_id = Text(200, allow_none=True)
    result_diff = InlineDiff(allow_none=True)


def refuse_duplicate_diffs(data: dict[str, Any], *kinds: str) -> dict[str, Any]:
    """Refuse a diff that is sent both inline and as a key."""
    for kind in kinds:
        if data.get(f"{kind}_diff") is not None and data.get(f"{kind}_diff_s3_key") is not None:
            raise invalid(f"{kind}_diff_s3_key", "send either the diff or its key, not both", error_code="two_diffs")
    return data


class UpdateRunnerBody(Body):
    """What can be changed later."""

    title = Text(500, least=1, validate=[NOT_BLANK])
    sha = Text(64, allow_none=True, validate=[SHA])
    base_deploy_id = Text(200, allow_none=True)
    result_diff = InlineDiff(allow_none=True)
    result_diff_s3_key = Text(1000, least=1, allow_none=True)

    @post_load
    def one_diff(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return refuse_duplicate_diffs(data, "result")


class RevertBody(Body):
    """The session to go back to."""

    session_id = Reference(required=True, allow_none=True)


class RebaseBody(Body):
    """What happens to conflicts. Null: they fail the rebase."""

    resolve = Choice(Resolver, allow_none=True)
    prompt = Prompt(metadata={"example": "Keep the lockfile of the branch."})

    @post_load
    def for_agent(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if "prompt" in data and data.get("resolve") is None:
            raise invalid("prompt", "is for the agent, so it needs `resolve`", error_code="prompt_without_agent")
        return data


class PullRequestBody(Body):
    """How the pull request looks. Fields left out have a default, or stay as they are in an existing pull request."""

    title = Text(500, least=1, allow_none=True, validate=[NOT_BLANK])
    body = Text(60_000, allow_none=True)
    draft = Flag(allow_none=True)
    branch = Text(255, least=1, allow_none=True)
    labels = Names(allow_none=True)
    reviewers = Names(allow_none=True)
    assignees = Names(allow_none=True)


class CommitBody(Body):
    """The commit to make."""

    target_branch = Text(255, least=1, required=True, metadata={"example": "staging"})
    message = Text(
        60_000,
        least=1,
        allow_none=True,
        validate=[NOT_BLANK],
    )
    squash = Flag(allow_none=True)


class CreatedBetween(Query):
    """Bounds on the time of creation, both inclusive; `from` and `to` are short for them."""

    created_at_from = Bound()
    created_at_to = Bound()
    short_from = Bound(data_key="from")
    short_to = Bound(data_key="to")

    @post_load
    def take_aliases(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        for short, name in (("short_from", "created_at_from"), ("short_to", "created_at_to")):
            if short in data:
                data.setdefault(name, data.pop(short))
        return data


class RunnerQuery(CreatedBetween, PageQuery):
    """Which runners to list."""

    q = Text(500)
    state = Choices(RunnerState, groups={"live": LIVE})
    title = Text(500)
    agent = Text(100)
    branch = Text(255)
    result_branch = Text(255)
    user_id = fields.UUID()
    site_id = fields.UUID()
    parent_agent_runner_id = fields.UUID()
    pr_state = Choices(PullRequestState)
    since = Bound()
    awaiting_input = fields.Boolean()


class RunnerSchema(Schema):
    """A runner: the lasting line of work on one branch."""

    id = fields.UUID(required=True)
    site_id = fields.UUID(required=True)
    site_name = fields.String(required=True)
    parent_agent_runner_id = fields.UUID(required=True, allow_none=True)
    state = Choice(RunnerState, required=True)
    title = fields.String(required=True)
    branch = fields.String(required=True, allow_none=True)
    result_branch = fields.String(required=True, allow_none=True)
    sha = fields.String(required=True, allow_none=True)
    base_deploy_id = fields.String(required=True, allow_none=True)
    current_task = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)
    done_at = Moment(required=True, allow_none=True)
    last_session_created_at = Moment(required=True)
    active_session_created_at = Moment(required=True, allow_none=True)
    has_result_diff = fields.Boolean(required=True)
    contains_secret = fields.Boolean(required=True)
    attached_file_keys = fields.List(fields.String(), required=True)
    latest_session_id = fields.UUID(required=True, allow_none=True)
    latest_session_state = Choice(SessionState, required=True, allow_none=True)
    latest_session_mode = Choice(Mode, required=True, allow_none=True)
    latest_session_agent = fields.String(required=True, allow_none=True)
    awaiting_input = fields.Boolean(required=True)
    questions = fields.List(fields.Nested(QuestionSchema), required=True, allow_none=True)
    waiting = fields.Nested(WaitingSchema, required=True, allow_none=True)
    issue_number = fields.Integer(required=True, allow_none=True)
    pr_url = fields.String(required=True, allow_none=True)
    pr_branch = fields.String(required=True, allow_none=True)
    pr_state = Choice(PullRequestState, required=True, allow_none=True)
    pr_checks = fields.Nested(PullRequestChecksSchema, required=True, allow_none=True, attribute="pr_check_results")
    pr_checked_at = Moment(required=True, allow_none=True)
    pr_number = fields.Integer(required=True, allow_none=True)
    pr_is_being_created = fields.Boolean(required=True)
    pr_error = fields.String(required=True, allow_none=True)
    pr_warnings = fields.List(fields.String(), required=True, allow_none=True)
    merge_commit_sha = fields.String(required=True, allow_none=True)
    merge_commit_error = fields.String(required=True, allow_none=True)
    merge_commit_is_being_created = fields.Boolean(required=True)
    base_sha = fields.String(required=True, allow_none=True)
    behind_by = fields.Integer(required=True, allow_none=True)
    mergeable = fields.Boolean(required=True, allow_none=True)
    conflicts = fields.List(fields.String(), required=True, allow_none=True)
    is_being_refreshed = fields.Boolean(required=True)
    refreshed_at = Moment(required=True, allow_none=True)
    refresh_error = fields.String(required=True, allow_none=True)
    head_session_id = fields.UUID(required=True, allow_none=True)
    usage = fields.Nested(UsageSchema, required=True)
    user = fields.Nested(UserSchema, required=True)
    contributors = fields.List(fields.Nested(UserSchema), required=True)
