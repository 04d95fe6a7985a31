"""Checks of what a session would need: `/sites/:id/preflight`."""

from __future__ import annotations

import uuid
from typing import Any

from flask.views import MethodView

from app.api import examples, paging
from app.api.auth import caller
from app.api.blueprint import Blueprint
from app.api.idempotency import idempotent
from app.api.presenters import RowView
from app.api.transactions import reading
from app.schemas.preflight import PreflightBody, PreflightSchema
from app.services.preflights import preflights
from app.services.preflights.preflights import Found

blp = Blueprint(
    "Preflight",
    __name__,
    description="Checks of what a session would need.",
    url_prefix="/api/v1/sites/<uuid:site_id>/preflight",
)


def _view(found: Found) -> RowView:
    more = {"state": found.state, "ok": found.ok, "checks": found.checks, "agent_runner_id": found.agent_runner_id}
    return RowView(found.row, **more)


@blp.route("")
class Preflights(MethodView):
    @idempotent()
    @blp.operation("startPreflight")
    @blp.arguments(PreflightBody, example={"run_setup": True}, required=False)
    @blp.response(202, PreflightSchema, example=examples.PREFLIGHT)
    def post(self, fields: dict[str, Any], site_id: uuid.UUID) -> Any:
        """Check what a session of a site would need.

        Poll the answer's `Location` until `state` is `done`. Nothing is pushed, and no model is used. `run_setup` starts a
        session that runs the setup command and nothing else.
        """
        given = {"agent": None, "branch": None, **fields}
        found = preflights.request(caller(), site_id, **given)
        return _view(found), {"Location": paging.public_url(f"/sites/{site_id}/preflight/{found.row.id}")}


@blp.route("/<uuid:preflight_id>")
class Preflight(MethodView):
    @reading
    @blp.operation("getPreflight")
    @blp.response(200, PreflightSchema, example=examples.PREFLIGHT)
    def get(self, site_id: uuid.UUID, preflight_id: uuid.UUID) -> Any:
        """Get the checks of a preflight.

        Each check that failed has a code, and a message that says what to do.
        """
        return _view(preflights.get(caller(), site_id, preflight_id))
