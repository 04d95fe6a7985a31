"""Sessions in JSON."""

from __future__ import annotations

from typing import Any

from marshmallow import EXCLUDE, ValidationError, fields, post_load

from app.errors import invalid
from app.models.states import Mode, Resolver, SessionState, Stage, StepCategory
from app.schemas.agent_runner import (
    SHA,
    CreatedBetween,
    LimitsSchema,
    PromptBody,
    QuestionSchema,
    UsageSchema,
    WaitingSchema,
    refuse_duplicate_diffs,
)
from app.schemas.base import Body, PageQuery, Schema, UserSchema
from app.schemas.choices import Choice, Choices
from app.schemas.fields import NOT_BLANK, Amount, InlineDiff, Moment, Prompt, Text, Whole, items

RESULT_LENGTH = 1024 * 1024
MESSAGE_LENGTH = 256 * 1024
LARGEST_COUNT = 2**53 - 1


class AnswerBody(Body):
    """The answer to one question."""

    question_id = fields.UUID(required=True)
    answer = Text(10_000, least=1, required=True, validate=[NOT_BLANK])


class CreateSessionBody(PromptBody):
    """A follow-up: a prompt, answers to the questions of the runner, or both."""

    prompt = Prompt(metadata={"example": "Add a test for it."})
    answers = fields.List(fields.Nested(AnswerBody), validate=items(3))

    @post_load
    def something(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        if "prompt" not in data and not data.get("answers"):
            raise invalid("prompt", "is required where there are no answers", error_code="prompt_missing")
        return data


class StepBody(Schema):
    """One thing that the agent did. Unknown fields are ignored, so that a step can be sent as it was read."""

    class Meta:
        unknown = EXCLUDE

    title = Text(500, load_default="")
    message = Text(MESSAGE_LENGTH, allow_none=True)
    category = Choice(StepCategory, load_default=StepCategory.MESSAGE)
    ref = Text(200, allow_none=True)


class UsageBody(Body):
    """The totals so far."""

    input_tokens = Whole(most=LARGEST_COUNT, allow_none=True)
    output_tokens = Whole(most=LARGEST_COUNT, allow_none=True)
    cached_input_tokens = Whole(most=LARGEST_COUNT, allow_none=True)
    cost_usd = Amount(allow_none=True)
    tool_calls = Whole(most=LARGEST_COUNT, allow_none=True)


class QuestionBody(Body):
    """What the agent wants to know before it continues."""

    question = Text(1000, least=1, required=True, validate=[NOT_BLANK])
    choices = fields.List(Text(200, least=1, validate=[NOT_BLANK]), load_default=[], validate=items(8))


class ReportBody(Body):
    """What a worker reports. Other callers can change the title."""

    title = Text(500, allow_none=True, validate=[NOT_BLANK])
    steps = fields.List(fields.Nested(StepBody), validate=items(10_000))
    result = Text(RESULT_LENGTH, allow_none=True)
    result_branch = Text(255, least=1, allow_none=True)
    state = Choice(SessionState)
    duration = Whole(allow_none=True)
    current_task = Text(500, allow_none=True)
    result_diff = InlineDiff(allow_none=True)
    result_diff_s3_key = Text(1000, least=1, allow_none=True)
    cumulative_diff = InlineDiff(allow_none=True)
    cumulative_diff_s3_key = Text(1000, least=1, allow_none=True)
    questions = fields.List(fields.Nested(QuestionBody), allow_none=True, validate=items(3))
    usage = fields.Nested(UsageBody, allow_none=True)
    commit_sha = Text(64, allow_none=True, validate=[SHA])
    base_deploy_id = Text(200, allow_none=True)

    @post_load
    def one_diff(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        return refuse_duplicate_diffs(data, "result", "cumulative")


class SessionQuery(CreatedBetween, PageQuery):
    """Which sessions of a runner to list."""

    state = Choices(SessionState)
    order_by = fields.String(load_default="asc", metadata={"enum": ["asc", "desc"]})
    include_discarded = fields.Boolean(load_default=False)

    @post_load
    def check_order(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["order_by"] = data["order_by"].lower()
        if data["order_by"] not in ("asc", "desc"):
            raise ValidationError("must be asc or desc", "order_by")
        return data


class AgentConfigSchema(Schema):
    """The agent of a session and its settings."""

    agent = fields.String(required=True)
    model = fields.String(required=True, allow_none=True)
    effort = fields.String(required=True, allow_none=True)


class SuccessorSchema(Schema):
    """An agent that took over, and its model."""

    agent = fields.String(required=True)
    model = fields.String(required=True, allow_none=True)


class FailureSchema(Schema):
    """Why a session ended in ERROR."""

    code = fields.String(required=True, metadata={"example": "branch_not_found"})
    stage = fields.String(required=True, metadata={"example": "checkout"})
    retryable = fields.Boolean(required=True)
    message = fields.String(required=True)
    retry_at = fields.String(
        # Failures that were recorded by an earlier release have none.
        required=True,
        allow_none=True,
        dump_default=None,
        metadata={"format": "date-time", "example": "2026-01-31T17:00:00.000Z"},
    )


class StepSchema(Schema):
    """One thing that the agent reported."""

    id = fields.UUID(required=True)
    title = fields.String(required=True)
    message = fields.String(required=True)
    category = Choice(StepCategory, required=True)
    ref = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)


class SessionSchema(Schema):
    """A session: one prompt and its result."""

    id = fields.UUID(required=True)
    agent_runner_id = fields.UUID(required=True)
    state = Choice(SessionState, required=True)
    mode = Choice(Mode, required=True)
    resolve = Choice(Resolver, required=True, allow_none=True)
    title = fields.String(required=True, allow_none=True)
    prompt = fields.String(required=True)
    may_ask = fields.Boolean(required=True)
    prompt_truncated = fields.Boolean(required=True)
    agent_config = fields.Nested(AgentConfigSchema, required=True)
    taken_over_by = fields.Nested(SuccessorSchema, required=True, allow_none=True)
    result = fields.String(required=True, allow_none=True)
    result_truncated = fields.Boolean(required=True)
    questions = fields.List(fields.Nested(QuestionSchema), required=True, allow_none=True)
    stage = Choice(Stage, required=True, allow_none=True)
    waiting = fields.Nested(WaitingSchema, required=True, allow_none=True)
    current_task = fields.String(required=True, allow_none=True)
    failure = fields.Nested(FailureSchema, required=True, allow_none=True)
    duration = fields.Integer(required=True, allow_none=True)
    steps = fields.List(fields.Nested(StepSchema), required=True)
    steps_count = fields.Integer(required=True)
    attempt = fields.Integer(required=True)
    parent_session_id = fields.UUID(required=True, allow_none=True)
    continues_session_id = fields.UUID(required=True, allow_none=True)
    native_session_id = fields.String(required=True, allow_none=True)
    agent_version = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)
    started_at = Moment(required=True, allow_none=True)
    done_at = Moment(required=True, allow_none=True)
    commit_sha = fields.String(required=True, allow_none=True)
    base_sha = fields.String(required=True, allow_none=True)
    result_branch = fields.String(required=True, allow_none=True)
    base_deploy_id = fields.String(required=True, allow_none=True)
    attached_file_keys = fields.List(fields.String(), required=True)
    is_discarded = fields.Boolean(required=True)
    has_result_diff = fields.Boolean(required=True)
    has_cumulative_diff = fields.Boolean(required=True)
    contains_secret = fields.Boolean(
        required=True,
    )
    limits = fields.Nested(LimitsSchema, required=True)
    usage = fields.Nested(UsageSchema, required=True, allow_none=True)
    user = fields.Nested(UserSchema, required=True)


class ReportedSessionSchema(SessionSchema):
    """The session after a report. Only the answer to a claim has the session token and the URLs to read the session's
    input."""

    session_token = fields.String(required=True, allow_none=True)
    attachment_urls = fields.Dict(keys=fields.String(), values=fields.String(), required=True, allow_none=True)
    start_diff_url = fields.String(required=True, allow_none=True)
