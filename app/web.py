"""The web process: a Flask application that serves the API and the console."""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import Any

import flask_smorest
import structlog
from flask import Flask, Response, request

from app import db, process_start
from app.api import cors, description, errors, health, ids, metrics, requests
from app.api.v1 import (
    account,
    agent_runner_sessions,
    agent_runners,
    blobs,
    budgets,
    comparisons,
    docs,
    events,
    forge_accounts,
    forge_webhooks,
    hooks,
    members,
    preflights,
    schedules,
    session_diffs,
    sites,
    tokens,
    uploads,
    variables,
    webhooks,
)
from app.artifacts import StoreUnavailable
from app.config import settings
from app.console import blueprint as console
from app.console import views
from app.errors import AppError, Unavailable
from app.logs import configure_logging
from app.schemas.base import ErrorSchema
from app.services import secret_key
from app.serving.worker import BODY_LIMIT

log = structlog.get_logger()
PARTS = (
    agent_runners,
    agent_runner_sessions,
    session_diffs,
    comparisons,
    events,
    uploads,
    sites,
    schedules,
    variables,
    hooks,
    forge_webhooks,
    preflights,
    budgets,
    account,
    forge_accounts,
    members,
    tokens,
    webhooks,
    blobs,
    docs,
    health,
    metrics,
)
VERSION = "0.1.0"

DESCRIPTION = """From a prompt to a reviewed pull request, with any coding agent.

A *site* is a repository. A *runner* is a lasting line of work on one branch of a site. A *session* is one prompt and
its result; a follow-up is a further session of the same runner.

**Authentication.** Send `Authorization: Bearer <token>`. `agent-runners token create` creates a token, and so does
`POST /api/v1/tokens`.

**Errors.** Every answer that is not a success has one shape: `message` says what is wrong and what to do, `error_code`
is stable and for programs, `errors` holds the messages for each field of a 422. Unknown fields and parameters are refused.

**Repeats.** Every POST takes an `Idempotency-Key`. A repeat with the same key and body gets the first answer again, so a
request whose answer was lost can be sent again safely.

**Lists.** `page` and `per_page` (at most 100), with the headers `Total` (up to 10,000) and `Link`. For long lists
start with `cursor=` and follow `Link rel="next"`.

**Waiting.** Work is done in the background. Follow the events of a session, or poll it until its state is DONE, ERROR
or CANCELLED.
"""
CONFIGURATION = {
    "API_TITLE": "Agent Runners",
    "API_VERSION": VERSION,
    "OPENAPI_VERSION": "3.1.0",
    "OPENAPI_URL_PREFIX": "/api/v1",
    "OPENAPI_JSON_PATH": "openapi.json",
    "API_SPEC_OPTIONS": {
        "info": {"description": DESCRIPTION, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
        "security": [{"bearer": []}],
    },
    "MAX_CONTENT_LENGTH": requests.MAX_BODY_BYTES,
    "PROPAGATE_EXCEPTIONS": False,
    "TRAP_HTTP_EXCEPTIONS": False,
}


class Api(flask_smorest.Api):
    """Documents every error in the API's one shape. `app.api.errors` answers them."""

    ERROR_SCHEMA = ErrorSchema

    def _register_error_handlers(self) -> None:
        pass

    def _register_pagination_header(self) -> None:
        """Lists have the headers of `app.api.paging`, not those of flask-smorest."""

    def _openapi_json(self) -> Response:
        """Serve the description. Anybody may ask for it, so it is encoded once."""
        return Response(self._description, mimetype="application/json")

    @functools.cached_property
    def _description(self) -> bytes:
        response: Response = super()._openapi_json()
        return response.get_data()


def serve() -> Flask:
    """The application for the WSGI server, which calls this once and then forks its processes.

    Ends this process if it has another secret key than the others.
    """
    app = create_app()
    try:
        # If the database is unavailable, the web process starts anyway and answers 503 until it is back.
        with contextlib.suppress(db.DatabaseError), db.transaction():
            secret_key.require_same()
    except secret_key.OtherSecretKey as error:
        sys.exit(f"agent-runners web: {error}")
    finally:
        # Connections must not be shared across a fork.
        db.close()
    process_start.before_first_fork()
    return app


def create_app() -> Flask:
    """The application, with its database."""
    configure_logging("web")
    db.configure(settings().database)
    app = Flask(__name__, static_folder=None)
    app.config.update(CONFIGURATION)
    # Fields keep the order of the schema, which is also that of the documentation.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False
    app.url_map.converters["uuid"] = ids.Id
    cors.register(app)
    requests.register(app)
    errors.register(app, _answer)
    for error in db.UNAVAILABLE:
        app.register_error_handler(error, _answer_database_error)
    app.register_error_handler(StoreUnavailable, _answer_store_unavailable)
    api = Api(app, spec_kwargs={"marshmallow_plugin": description.Plugin()})
    for part in PARTS:
        api.register_blueprint(part.blp)
    api.register_blueprint(hooks.open_blp)
    api.register_blueprint(forge_webhooks.open_blp)
    docs.redirect_to_docs(app)
    app.register_blueprint(views.bp)
    app.extensions[BODY_LIMIT] = blobs.body_limit
    return app


def _answer(error: AppError) -> Response:
    """An error as a page of the console, or in the shape of the API."""
    return console.error_page(error) if request.blueprint == console.bp.name else errors.answer(error)


def _answer_database_error(error: Any) -> Any:
    log.error("database_unavailable", error=type(getattr(error, "orig", error)).__name__)
    unavailable = Unavailable(
        "The database is unavailable. Try again later.", error_code="database_unavailable", headers={"Retry-After": "5"}
    )
    return _answer(unavailable)


def _answer_store_unavailable(error: StoreUnavailable) -> Any:
    log.error("artifact_store_unavailable", error=str(error))
    unavailable = Unavailable(
        "The artifact store is unavailable. Try again later.",
        error_code="artifact_store_unavailable",
        headers={"Retry-After": "5"},
    )
    return _answer(unavailable)
