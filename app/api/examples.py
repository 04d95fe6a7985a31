"""The examples and links of the API's description."""

from __future__ import annotations

from typing import Any

RUNNER_ID = "0197c1de-0000-7000-8000-000000000001"
SESSION_ID = "0197c1de-0000-7000-8000-000000000002"
SITE_ID = "0197c1de-0000-7000-8000-000000000003"
ACCOUNT_ID = "0197c1de-0000-7000-8000-000000000004"
USER_ID = "0197c1de-0000-7000-8000-000000000005"
NOON = "2026-01-31T12:00:00.000Z"
FILE_KEY = f"user-uploaded-content/{ACCOUNT_ID}/6f9619ff-8b86-4d01-b42d-00cf4fc964ff/sketch.png"
BLOBS = "http://127.0.0.1:8750/api/v1/blobs"
DIFF = "diff --git a/README.md b/README.md\nindex 10ddd6d..a5c1966 100644\n--- a/README.md\n+++ b/README.md\n@@ -1 +1 @@\n-Hello\n+Hello, world\n"
DIFF_FILE = {
    "path": "README.md",
    "old_path": None,
    "status": "modified",
    "additions": 1,
    "deletions": 1,
    "binary": False,
    "old_mode": "100644",
    "new_mode": "100644",
    "offset": 0,
    "size": len(DIFF),
}

USER = {"id": USER_ID, "full_name": "Ada Lovelace", "email": "ada@example.org", "avatar_url": None}
USAGE = {
    "input_tokens": 5200,
    "output_tokens": 840,
    "cached_input_tokens": 4100,
    "cost_usd": 0.04,
    "tool_calls": 7,
}
AGENT = {
    "name": "claude",
    "takes_plain_language": True,
    "available": True,
    "version": "2.1.197",
    "missing": None,
    "has_key": True,
    "hosts": 1,
    "reported_at": NOON,
}
CREATE_SITE = {"name": "shop", "repo_url": "https://github.com/example/shop.git", "default_branch": "main"}
SITE = {
    **CREATE_SITE,
    "id": SITE_ID,
    "account_id": ACCOUNT_ID,
    "forge": "github",
    "forge_api_url": None,
    "default_agent": None,
    "default_model": None,
    "setup_command": None,
    "setup_cache_files": None,
    "protected_branches": ["main"],
    "egress_hosts": [],
    "allow_agent_configuration": False,
    "max_duration_seconds": None,
    "max_cost_usd": None,
    "max_concurrent_sessions": None,
    "execution": "internal",
    "has_access_token": False,
    "created_at": NOON,
    "updated_at": NOON,
}
CREATE_RUNNER = {"site_id": SITE_ID, "prompt": "Add a health endpoint.", "agent": "claude"}
RUNNER = {
    "id": RUNNER_ID,
    "site_id": SITE_ID,
    "site_name": "shop",
    "parent_agent_runner_id": None,
    "state": "NEW",
    "title": "Add a health endpoint.",
    "branch": "main",
    "result_branch": None,
    "sha": None,
    "base_deploy_id": None,
    "current_task": None,
    "created_at": NOON,
    "updated_at": NOON,
    "done_at": None,
    "last_session_created_at": NOON,
    "active_session_created_at": NOON,
    "has_result_diff": False,
    "contains_secret": False,
    "attached_file_keys": [],
    "latest_session_id": SESSION_ID,
    "latest_session_state": "NEW",
    "latest_session_mode": "normal",
    "waiting": {"reason": "queued", "position": 0, "until": None},
    "pr_url": None,
    "pr_branch": None,
    "pr_state": None,
    "pr_checked_at": None,
    "pr_number": None,
    "pr_is_being_created": False,
    "pr_error": None,
    "merge_commit_sha": None,
    "merge_commit_error": None,
    "merge_commit_is_being_created": False,
    "base_sha": None,
    "behind_by": None,
    "head_session_id": None,
    "usage": dict.fromkeys(USAGE),
    "user": USER,
    "contributors": [USER],
}
REPORTED_STEP = {
    "title": "Read the routes",
    "message": "src/routes.py has 12 of them.",
    "category": "read",
    "ref": "call_1",
}
STEP = {"id": USER_ID, **REPORTED_STEP, "created_at": NOON}
SESSION = {
    "id": SESSION_ID,
    "agent_runner_id": RUNNER_ID,
    "state": "DONE",
    "mode": "normal",
    "title": None,
    "prompt": "Add a health endpoint.",
    "prompt_truncated": False,
    "agent_config": {"agent": "claude", "model": None, "effort": None},
    "stage": None,
    "waiting": None,
    "result": "There is a health endpoint now.",
    "result_truncated": False,
    "current_task": None,
    "failure": None,
    "duration": 61000,
    "steps": [STEP],
    "steps_count": 1,
    "attempt": 1,
    "parent_session_id": None,
    "created_at": NOON,
    "updated_at": NOON,
    "started_at": NOON,
    "done_at": NOON,
    "commit_sha": None,
    "base_sha": "9fceb02d0ae598e95dc970b74767f19372d61af8",
    "result_branch": None,
    "base_deploy_id": None,
    "attached_file_keys": [],
    "is_discarded": False,
    "has_result_diff": True,
    "has_cumulative_diff": True,
    "contains_secret": False,
    "limits": {"max_duration_seconds": 3600, "max_cost_usd": None, "max_tokens": None},
    "usage": USAGE,
    "user": USER,
}
REPORT = {"steps": [REPORTED_STEP], "usage": USAGE}
MESSAGE = {"id": "3", "event": "step", "data": '{"seq": 3, "title": "Read the routes"}'}
ME = {
    **USER,
    "account": {"id": ACCOUNT_ID, "name": "Analytical Engines"},
    "token": {"id": USER_ID, "name": "ci", "scope": "write", "created_at": NOON},
}
ACCOUNT = {
    "id": ACCOUNT_ID,
    "name": "Analytical Engines",
    "created_at": NOON,
    "limits": {"max_concurrent_sessions": 4, "max_queued_sessions": 1000, "max_stored_bytes": 107374182400},
    "used": {"running_sessions": 2, "queued_sessions": 5, "stored_bytes": 73400320},
}
CONSOLE_LINK = {"url": "https://runners.example.org/sign-in?code=ar_...", "expires_at": "2026-01-31T12:10:00.000Z"}
TOKEN = {"id": USER_ID, "user_id": USER_ID, "name": "ci", "scope": "write", "created_at": NOON, "revoked_at": None}
UPLOAD = {"filename": "sketch.png", "content_type": "image/png", "size": 20480}
UPLOAD_URL = {
    "upload_url": f"{BLOBS}/{FILE_KEY}?type=image%2Fpng&limit=10485760&length=20480&expires=1769861640&signature=...",
    "file_key": FILE_KEY,
    "headers": {"Content-Type": "image/png", "Content-Length": "20480"},
    "expires_at": "2026-01-31T12:14:00.000Z",
}
DELETE_URL = {"delete_url": f"{BLOBS}/{FILE_KEY}?expires=1769861640&signature=...", "file_key": FILE_KEY}
_PATCH = f"agent-runner-sessions-diffs/{RUNNER_ID}/{SESSION_ID}/1"
DIFF_UPLOADS = {
    kind: {
        "upload_url": f"{BLOBS}/{_PATCH}/{kind}.patch?...",
        "s3_key": f"{_PATCH}/{kind}.patch",
        "headers": {"Content-Type": "text/x-diff"},
    }
    for kind in ("result", "cumulative")
}


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
REPORTED_SESSION = {**SESSION, "session_token": None, "attachment_urls": None, "start_diff_url": None}

CREATE_WEBHOOK = {"url": "https://hooks.example.org/agent-runners", "events": ["session.done", "session.error"]}
WEBHOOK = {
    **CREATE_WEBHOOK,
    "id": "0197c1de-0000-7000-8000-000000000006",
    "account_id": ACCOUNT_ID,
    "site_id": None,
    "description": "",
    "state": "active",
    "disabled_reason": None,
    "failing_since": None,
    "created_at": NOON,
    "updated_at": NOON,
}
DELIVERY = {
    "id": "0197c1de-0000-7000-8000-000000000007",
    "event_id": "0197c1de-0000-7000-8000-000000000008",
    "event_type": "session.done",
    "state": "delivered",
    "tries": 1,
    "status": 204,
    "error": None,
    "tried_at": NOON,
    "created_at": NOON,
}
