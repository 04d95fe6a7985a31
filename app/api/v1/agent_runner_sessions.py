"""The sessions of a runner: `/agent_runners/:id/sessions`."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response
from flask.views import MethodView

from app.api import examples, links, paging, presenters
from app.api.auth import caller
from app.api.blueprint import LIST_HEADERS, Blueprint, empty
from app.api.idempotency import idempotent
from app.api.requests import strings_in_body
from app.api.transactions import prepared_by, reading, writing
from app.schemas.agent_runner_session import (
    CreateSessionBody,
    ReportBody,
    ReportedSessionSchema,
    SessionQuery,
    SessionSchema,
)
from app.services.artifacts import uploads
from app.services.execution import external_workers
from app.services.execution.reports import Report
from app.services.runners import agent_runner_sessions
from app.services.runners.creation import FollowUp

blp = Blueprint(
    "Sessions",
    __name__,
    description="Prompts and their results.",
    url_prefix="/api/v1/agent_runners/<uuid:agent_runner_id>/sessions",
)


@blp.route("")
class AgentRunnerSessions(MethodView):
    @reading
    @blp.operation("listSessions")
    @blp.arguments(SessionQuery, location="query")
    @blp.response(200, SessionSchema(many=True), headers=LIST_HEADERS, example=[examples.SESSION])
    def get(self, filters: dict[str, Any], agent_runner_id: uuid.UUID) -> Any:
        """List the sessions of an agent runner, oldest first.

        Discarded sessions are left out unless `include_discarded` is true. Long prompts and results are cut, which
        `prompt_truncated` and `result_truncated` say; in a long list, later sessions may have fewer steps than
        `steps_count`. Read such a session by itself to get everything.
        """
        page = agent_runner_sessions.find(caller(), agent_runner_id, filters)
        return presenters.sessions(page.items), paging.headers(page)

    @prepared_by(lambda agent_runner_id: uploads.find_uploaded(caller(), strings_in_body("file_keys")))
    @idempotent()
    @blp.operation("createSession", conflict="`active_session_exists` or `runner_archived`", links=links.SESSION_LINKS)
    @blp.arguments(CreateSessionBody, example={"prompt": "Add a test for it."})
    @blp.response(201, SessionSchema, example=examples.SESSION)
    def post(self, fields: dict[str, Any], agent_runner_id: uuid.UUID, prepared: uploads.Uploaded) -> Any:
        """Follow up with a prompt.

        The session builds on the runner's diff. The agent sees the resulting files, but does not remember earlier
        prompts and answers. Agent, model, effort and limits are those of the latest session unless the body names
        others.
        """
        session = agent_runner_sessions.create(caller(), agent_runner_id, FollowUp(**fields), prepared)
        return presenters.session(session), {"Location": _url(session)}


@blp.route("/<uuid:session_id>")
class AgentRunnerSession(MethodView):
    @reading
    @blp.operation("getSession", links=links.GOT_SESSION_LINKS)
    @blp.response(200, SessionSchema, example=examples.SESSION)
    def get(self, agent_runner_id: uuid.UUID, session_id: uuid.UUID) -> Any:
        """Get a session with its steps.

        The steps are those of the current attempt. If a worker is lost, another attempt begins with steps of its own.
        """
        return presenters.session(agent_runner_sessions.get(caller(), agent_runner_id, session_id))

    @blp.operation("updateSession", conflict="`bad_transition`, `already_claimed`, `lease_lost` or `not_external`")
    @blp.arguments(ReportBody, example=examples.REPORT, required=False)
    @prepared_by(
        lambda fields, agent_runner_id, session_id: external_workers.prepare(
            caller(), agent_runner_id, session_id, Report(**fields)
        )
    )
    @writing
    @blp.response(200, ReportedSessionSchema, example=examples.REPORTED_SESSION)
    def patch(
        self,
        fields: dict[str, Any],
        agent_runner_id: uuid.UUID,
        session_id: uuid.UUID,
        prepared: external_workers.Prepared,
    ) -> Any:
        """Report on a session as its worker, or change its title.

        An external worker claims the session with `state: RUNNING`. Only the answer to the claim has the session token
        and the URLs to read the attached files and the diff that the session builds on. Each further report, even an
        empty one, needs that token and is a heartbeat.
        """
        session, answer = external_workers.report(caller(), agent_runner_id, session_id, prepared)
        extra = ("session_token", "attachment_urls", "start_diff_url")
        return presenters.session(session, **{name: getattr(answer, name, None) for name in extra})

    @writing
    @blp.operation("stopSession", conflict="`session_ended`")
    @blp.response(202)
    def delete(self, agent_runner_id: uuid.UUID, session_id: uuid.UUID) -> Response:
        """Stop a session.

        It becomes CANCELLED, and its work so far is kept. Stopping it again is not an error. A session that is DONE or
        ERROR cannot be stopped.
        """
        agent_runner_sessions.stop(caller(), agent_runner_id, session_id)
        return empty(202)


@blp.route("/<uuid:session_id>/retry")
class Retry(MethodView):
    @idempotent()
    @blp.operation(
        "retrySession",
        conflict="`active_session_exists`, `runner_archived` or `commit_in_progress`",
        also={400: "`already_landed`"},
        links=links.SESSION_LINKS,
    )
    @blp.response(201, SessionSchema, example=examples.SESSION)
    def post(self, agent_runner_id: uuid.UUID, session_id: uuid.UUID) -> Any:
        """Try a session again.

        The new session has the same prompt, mode, agent, model, effort, limits and files, and starts where the old one
        started. If it ends DONE with a diff, it replaces the old session and those that build on it.
        """
        session = agent_runner_sessions.retry(caller(), agent_runner_id, session_id)
        return presenters.session(session), {"Location": _url(session)}


def _url(session: Any) -> str:
    return paging.public_url(f"/agent_runners/{session.agent_runner_id}/sessions/{session.id}")
