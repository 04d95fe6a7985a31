"""Schedules in JSON."""

from __future__ import annotations

from marshmallow import fields

from app.models.states import Overlap
from app.schemas.choices import Choice
from app.schemas.fields import Flag, Line, Moment, Prompt, Text
from app.schemas.run_settings import RunSettingsBody, RunSettingsSchema

_CRON = {
    "example": "0 9 * * MON-FRI",
    "description": "The times as a cron expression: minute, hour, day, month, weekday.",
}


class UpdateScheduleBody(RunSettingsBody):
    """What can be changed about a schedule."""

    name = Line(200, metadata={"description": "The title of its runners. Left out: that of the prompt."})
    cron = Text(200, least=1, metadata=_CRON)
    timezone = Text(
        100, least=1, metadata={"example": "Europe/Berlin", "description": "The time zone of `cron`. Default: UTC."}
    )
    overlap = Choice(Overlap)
    active = Flag(metadata={"description": "False stops it. True continues with the next time."})


class CreateScheduleBody(UpdateScheduleBody):
    """When a site gets a new runner, and what it is to do."""

    cron = Text(200, least=1, required=True, metadata=_CRON)
    prompt = Prompt(required=True, metadata={"example": "Update the dependencies."})


class ScheduleSchema(RunSettingsSchema):
    """A schedule, with its next times and the result of the last one."""

    id = fields.UUID(required=True)
    account_id = fields.UUID(required=True)
    site_id = fields.UUID(required=True)
    user_id = fields.UUID(required=True)
    name = fields.String(required=True)
    cron = fields.String(required=True)
    timezone = fields.String(required=True)
    overlap = Choice(Overlap, required=True)
    active = fields.Boolean(required=True)
    next_run_at = Moment(required=True, allow_none=True)
    next_times = fields.List(Moment(), required=True)
    last_run_at = Moment(required=True, allow_none=True)
    last_runner_id = fields.UUID(required=True, allow_none=True)
    last_error = fields.String(required=True, allow_none=True)
    created_at = Moment(required=True)
    updated_at = Moment(required=True)
