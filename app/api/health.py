"""Whether the process lives, and whether it can serve: `/healthz` and `/readyz`. Open to everybody."""

from __future__ import annotations

from typing import Any

import structlog
from flask.views import MethodView

from app import db
from app.api.blueprint import Blueprint
from app.errors import Unavailable
from app.schemas.base import HealthSchema

blp = Blueprint("Health", __name__, description="Whether the process lives and can serve.", is_open=True)
log = structlog.get_logger()


@blp.route("/healthz")
class Healthy(MethodView):
    @blp.operation("getHealth")
    @blp.response(200, HealthSchema)
    def get(self) -> Any:
        """Check whether the process lives.

        It answers 200 even while the database does not answer.
        """
        return {"status": "ok"}


@blp.route("/readyz")
class Ready(MethodView):
    @blp.operation("getReadiness", also={503: "`database_unavailable`"})
    @blp.response(200, HealthSchema)
    def get(self) -> Any:
        """Check whether the process can serve.

        It answers 503 while the database does not answer.
        """
        try:
            db.ping()
        except Exception as error:
            log.warning("not_ready", error=type(error).__name__)
            raise Unavailable(
                "the database does not answer; try again later",
                error_code="database_unavailable",
                headers={"Retry-After": "5"},
            ) from None
        return {"status": "ok"}
