"""Liveness and readiness: `/healthz` and `/readyz`. They need no token."""

from __future__ import annotations

from typing import Any

import structlog
from flask.views import MethodView

from app import db
from app.api.blueprint import Blueprint
from app.errors import Unavailable
from app.schemas.base import HealthSchema

blp = Blueprint("Health", __name__, description="Liveness and readiness.", is_open=True)
log = structlog.get_logger()


@blp.route("/healthz")
class Healthy(MethodView):
    @blp.operation("getHealth")
    @blp.response(200, HealthSchema)
    def get(self) -> Any:
        """Check whether the process is alive.

        The answer is 200 even while the database is unavailable.
        """
        return {"status": "ok"}


@blp.route("/readyz")
class Ready(MethodView):
    @blp.operation("getReadiness", also={503: "`database_unavailable`"})
    @blp.response(200, HealthSchema)
    def get(self) -> Any:
        """Check whether the process can serve requests.

        The answer is 503 while the database is unavailable.
        """
        try:
            db.ping()
        except Exception as error:
            log.warning("not_ready", error=type(error).__name__)
            raise Unavailable(
                "The database is unavailable. Try again later.",
                error_code="database_unavailable",
                headers={"Retry-After": "5"},
            ) from None
        return {"status": "ok"}
