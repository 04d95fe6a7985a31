"""Links of the API's description: from an answer to the operations that can follow it."""

from __future__ import annotations

from typing import Any


def _link(operation_id: str, description: str, **parameters: str) -> dict[str, Any]:
    return {"operationId": operation_id, "description": description, "parameters": parameters}


def _of_runner(runner_id: str) -> dict[str, Any]:
    return {
        "get": _link("getAgentRunner", "The runner.", agent_runner_id=runner_id),
        "sessions": _link("listSessions", "Its sessions.", agent_runner_id=runner_id),
        "followUp": _link("createSession", "A follow-up.", agent_runner_id=runner_id),
        "stop": _link("stopAgentRunner", "Stop it.", agent_runner_id=runner_id),
        "diff": _link("getAgentRunnerDiff", "Its diff.", agent_runner_id=runner_id),
        "diffFiles": _link("listAgentRunnerDiffFiles", "The files of its diff.", agent_runner_id=runner_id),
        "latestSession": _link(
            "getSession",
            "Its latest session.",
            agent_runner_id=runner_id,
            session_id="$response.body#/latest_session_id",
        ),
    }


def _of_session(runner_id: str, session_id: str) -> dict[str, Any]:
    ids = {"agent_runner_id": runner_id, "session_id": session_id}
    return {
        "get": _link("getSession", "The session.", **ids),
        "events": _link("streamSessionEvents", "Its events, as they happen.", **ids),
        "stop": _link("stopSession", "Stop it.", **ids),
        "retry": _link("retrySession", "Try it again.", **ids),
        "resultDiff": _link("getSessionResultDiff", "What it changed.", **ids),
        "cumulativeDiff": _link("getSessionCumulativeDiff", "What all sessions changed.", **ids),
        "diffFiles": _link("listSessionDiffFiles", "The files that it changed.", **ids),
    }


RUNNER_LINKS = {201: _of_runner("$response.body#/id")}
GOT_RUNNER_LINKS = {200: _of_runner("$response.body#/id")}
SESSION_LINKS = {201: _of_session("$response.body#/agent_runner_id", "$response.body#/id")}
GOT_SESSION_LINKS = {200: _of_session("$response.body#/agent_runner_id", "$response.body#/id")}
SITE_LINKS = {
    201: {
        "get": _link("getSite", "The site.", site_id="$response.body#/id"),
        "createAgentRunner": {
            "operationId": "createAgentRunner",
            "description": "Work on it.",
            "requestBody": {"site_id": "$response.body#/id", "prompt": "Add a health endpoint."},
        },
    }
}
UPLOAD_LINKS = {
    200: {
        "delete": {
            "operationId": "createDeleteUrl",
            "description": "Delete the file.",
            "requestBody": {"file_key": "$response.body#/file_key"},
        }
    }
}
