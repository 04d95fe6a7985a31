"""The schedules of a site: `/sites/:id/schedules`."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response
from flask.views import MethodView

from app.api import examples, paging
from app.api.auth import caller
from app.api.blueprint import LIST_HEADERS, Blueprint, empty
from app.api.idempotency import idempotent
from app.api.presenters import RowView
from app.api.transactions import reading, writing
from app.schemas.base import PageQuery
from app.schemas.schedule import CreateScheduleBody, ScheduleSchema, UpdateScheduleBody
from app.services.schedules import runs, schedules
from app.services.schedules.schedules import ScheduleFields

blp = Blueprint(
    "Schedules",
    __name__,
    description="Runners that are created at certain times.",
    url_prefix="/api/v1/sites/<uuid:site_id>/schedules",
)


def _view(schedule: Any) -> RowView:
    return RowView(schedule, next_times=schedules.next_times(schedule))


@blp.route("")
class Schedules(MethodView):
    @reading
    @blp.operation("listSchedules")
    @blp.arguments(PageQuery, location="query")
    @blp.response(200, ScheduleSchema(many=True), headers=LIST_HEADERS, example=[examples.SCHEDULE])
    def get(self, filters: dict[str, Any], site_id: uuid.UUID) -> Any:
        """List the schedules of a site, oldest first.

        Each has its next five times.
        """
        page = schedules.find(caller(), site_id, filters)
        return [_view(each) for each in page.items], paging.headers(page)

    @idempotent()
    @blp.operation("createSchedule", conflict="`too_many_schedules`")
    @blp.arguments(CreateScheduleBody, example=examples.CREATE_SCHEDULE)
    @blp.response(201, ScheduleSchema, example=examples.SCHEDULE)
    def post(self, fields: dict[str, Any], site_id: uuid.UUID) -> Any:
        """Create a schedule.

        At each of its times it creates a runner in the name of the user of this token. Times that pass while the
        deployment is down are not made up for.
        """
        schedule = schedules.create(caller(), site_id, ScheduleFields(**fields))
        return _view(schedule), {"Location": paging.public_url(f"/sites/{site_id}/schedules/{schedule.id}")}


@blp.route("/<uuid:schedule_id>")
class Schedule(MethodView):
    @reading
    @blp.operation("getSchedule")
    @blp.response(200, ScheduleSchema, example=examples.SCHEDULE)
    def get(self, site_id: uuid.UUID, schedule_id: uuid.UUID) -> Any:
        """Get a schedule.

        `last_error` says why its last time has no runner.
        """
        return _view(schedules.get(caller(), site_id, schedule_id))

    @writing
    @blp.operation("updateSchedule")
    @blp.arguments(UpdateScheduleBody, example={"cron": "0 7 * * MON"}, required=False)
    @blp.response(200, ScheduleSchema, example=examples.SCHEDULE)
    def patch(self, fields: dict[str, Any], site_id: uuid.UUID, schedule_id: uuid.UUID) -> Any:
        """Change a schedule.

        Fields that are left out stay as they are.
        """
        return _view(schedules.update(caller(), site_id, schedule_id, ScheduleFields(**fields)))

    @writing
    @blp.operation("deleteSchedule")
    @blp.response(204)
    def delete(self, site_id: uuid.UUID, schedule_id: uuid.UUID) -> Response:
        """Delete a schedule.

        The runners that it created stay.
        """
        schedules.delete(caller(), site_id, schedule_id)
        return empty(204)


@blp.route("/<uuid:schedule_id>/run")
class ScheduleRun(MethodView):
    @idempotent()
    @blp.operation("runSchedule")
    @blp.response(201, ScheduleSchema, example=examples.SCHEDULE)
    def post(self, site_id: uuid.UUID, schedule_id: uuid.UUID) -> Any:
        """Create a runner of the schedule now.

        `last_runner_id` is its id. The times of the schedule stay as they are.
        """
        return _view(runs.run_now(caller(), site_id, schedule_id))
