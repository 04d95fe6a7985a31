"""The examples and links of the API's description."""

from __future__ import annotations

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
    "sensitive": None,
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
BRANCHES = {"names": ["main", "release/2.1"], "listed_at": "2026-11-02T09:30:00.000Z"}
SITE = {
    **CREATE_SITE,
    "id": SITE_ID,
    "account_id": ACCOUNT_ID,
    "forge": "github",
    "forge_api_url": None,
    "default_agent": None,
    "default_model": None,
    "fallback_agents": None,
    "on_quota": "fail",
    "setup_command": None,
    "setup_cache_files": None,
    "sparse_paths": None,
    "partial_clone": False,
    "protected_branches": ["main"],
    "egress_hosts": [],
    "allow_agent_configuration": False,
    "mcp_servers": None,
    "sensitive_files": "warn",
    "pr_branch_pattern": None,
    "pr_title_template": "[agent] {{ title }}",
    "pr_body_template": None,
    "pr_labels": ["agent"],
    "pr_reviewers": None,
    "pr_assignees": None,
    "pr_status": False,
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
    "latest_session_agent": "claude",
    "awaiting_input": False,
    "questions": None,
    "waiting": {"reason": "queued", "position": 0, "until": None},
    "pr_url": None,
    "pr_branch": None,
    "pr_state": None,
    "pr_checks": None,
    "pr_checked_at": None,
    "pr_number": None,
    "issue_number": None,
    "pr_is_being_created": False,
    "pr_error": None,
    "pr_warnings": None,
    "merge_commit_sha": None,
    "merge_commit_error": None,
    "merge_commit_is_being_created": False,
    "base_sha": None,
    "behind_by": None,
    "mergeable": None,
    "conflicts": None,
    "is_being_refreshed": False,
    "refreshed_at": None,
    "refresh_error": None,
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
    "resolve": None,
    "title": None,
    "prompt": "Add a health endpoint.",
    "may_ask": True,
    "prompt_truncated": False,
    "agent_config": {"agent": "claude", "model": None, "effort": None},
    "taken_over_by": None,
    "stage": None,
    "waiting": None,
    "result": "There is a health endpoint now.",
    "result_truncated": False,
    "questions": None,
    "current_task": None,
    "failure": None,
    "duration": 61000,
    "steps": [STEP],
    "steps_count": 1,
    "attempt": 1,
    "parent_session_id": None,
    "continues_session_id": None,
    "native_session_id": "0f3c2a51-8d0e-4c9b-9a57-6f2f1c3d7e88",
    "agent_version": "2.1.330",
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
    "role": "admin",
    "account": {"id": ACCOUNT_ID, "name": "Analytical Engines"},
    "token": {"id": USER_ID, "name": "ci", "scope": "write", "created_at": NOON, "expires_at": None},
}
ACCOUNT = {
    "id": ACCOUNT_ID,
    "name": "Analytical Engines",
    "created_at": NOON,
    "limits": {"max_concurrent_sessions": 4, "max_queued_sessions": 1000, "max_stored_bytes": 107374182400},
    "used": {"running_sessions": 2, "queued_sessions": 5, "stored_bytes": 73400320},
}
CONSOLE_LINK = {"url": "https://runners.example.org/sign-in?code=ar_...", "expires_at": "2026-01-31T12:10:00.000Z"}
TOKEN = {
    "id": USER_ID,
    "user_id": USER_ID,
    "name": "ci",
    "scope": "write",
    "created_at": NOON,
    "revoked_at": None,
    "expires_at": "2026-04-30T12:00:00.000Z",
    "last_used_at": NOON,
}
MEMBER = {**USER, "role": "member", "created_at": NOON, "disabled_at": None}
CREATE_MEMBER = {"email": "ada@example.org", "full_name": "Ada Lovelace", "role": "member"}
CONNECT_FORGE_ACCOUNT = {"forge": "github", "token": "github_pat_..."}
PENDING_FORGE_ACCOUNT = {
    "id": "0197c1de-0000-7000-8000-000000000013",
    "forge": "github",
    "forge_api_url": "https://api.github.com",
    "state": "PENDING",
    "login": None,
    "name": None,
    "email": None,
    "failure": None,
    "created_at": NOON,
}
FORGE_ACCOUNT = {
    **PENDING_FORGE_ACCOUNT,
    "state": "CONNECTED",
    "login": "ada",
    "name": "Ada Lovelace",
    "email": "1815+ada@users.noreply.github.com",
}
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
REPORTED_SESSION = {**SESSION, "session_token": None, "attachment_urls": None, "start_diff_url": None}

CREATE_SCHEDULE = {"cron": "0 9 * * MON", "timezone": "Europe/Berlin", "prompt": "Update the dependencies."}
SCHEDULE = {
    **CREATE_SCHEDULE,
    "id": "0197c1de-0000-7000-8000-000000000009",
    "account_id": ACCOUNT_ID,
    "site_id": SITE_ID,
    "user_id": USER_ID,
    "name": "",
    "overlap": "skip",
    "active": True,
    "mode": "normal",
    "agent": None,
    "model": None,
    "effort": None,
    "branch": None,
    "limits": None,
    "next_run_at": NOON,
    "next_times": [NOON],
    "last_run_at": None,
    "last_runner_id": None,
    "last_error": None,
    "created_at": NOON,
    "updated_at": NOON,
}

CREATE_BUDGET = {"period": "month", "max_cost_usd": 200.0}
BUDGET = {
    "id": "0197c1de-0000-7000-8000-000000000013",
    "account_id": ACCOUNT_ID,
    "site_id": None,
    "user_id": None,
    "schedule_id": None,
    "period": "month",
    "max_cost_usd": 200.0,
    "max_tokens": None,
    "used_cost_usd": 150.25,
    "used_tokens": 61200000,
    "unpriced_tokens": 0,
    "left_cost_usd": 49.75,
    "left_tokens": None,
    "is_exhausted": False,
    "period_start": "2026-01-01T00:00:00.000Z",
    "period_end": "2026-02-01T00:00:00.000Z",
    "updated_by": USER_ID,
    "created_at": NOON,
    "updated_at": NOON,
}

PREFLIGHT = {
    "id": "0197c1de-0000-7000-8000-000000000012",
    "account_id": ACCOUNT_ID,
    "site_id": SITE_ID,
    "user_id": USER_ID,
    "agent": "codex",
    "branch": "main",
    "state": "done",
    "ok": False,
    "checks": [
        {"name": "repository", "status": "ok", "code": None, "message": "It can be read."},
        {
            "name": "model_key",
            "status": "failed",
            "code": "model_key_refused",
            "message": "The model's provider refused OPENAI_API_KEY. Replace it.",
        },
    ],
    "agent_runner_id": None,
    "created_at": NOON,
    "done_at": NOON,
}

COMPARE = {"from_session_id": SESSION_ID, "to_session_id": "0197c1de-0000-7000-8000-000000000014"}
COMPARISON = {
    "id": "0197c1de-0000-7000-8000-000000000013",
    "agent_runner_id": RUNNER_ID,
    **COMPARE,
    "state": "done",
    "has_diff": True,
    "failure": None,
    "created_at": NOON,
    "done_at": NOON,
}

CREATE_VARIABLE = {"name": "NPM_TOKEN", "value": "npm_aaaaaaaaaaaaaaaaaaaa", "stage": "setup"}
VARIABLE = {
    "id": "0197c1de-0000-7000-8000-000000000010",
    "account_id": ACCOUNT_ID,
    "site_id": SITE_ID,
    "name": "NPM_TOKEN",
    "value": None,
    "secret": True,
    "stage": "setup",
    "host": None,
    "header": None,
    "fingerprint": "9f86d081884c7d65",
    "version": 1,
    "updated_by": USER_ID,
    "created_at": NOON,
    "updated_at": NOON,
}
ACCOUNT_VARIABLE = {**VARIABLE, "site_id": None}
AUDIT_EVENT = {
    "id": "0197c1de-0000-7000-8000-000000000011",
    "account_id": ACCOUNT_ID,
    "site_id": SITE_ID,
    "user_id": USER_ID,
    "token_id": "0197c1de-0000-7000-8000-000000000006",
    "action": "variable.created",
    "subject": "NPM_TOKEN",
    "details": {"version": 1, "secret": True, "stage": "setup", "host": None, "header": None},
    "created_at": NOON,
}
CREATE_HOOK = {
    "prompt": "Fix this issue: {{ issue.title }}",
    "subject": "issue-{{ issue.number }}",
    "conditions": [{"place": "action", "equals": "opened"}],
}
HOOK = {
    **CREATE_HOOK,
    "id": "0197c1de-0000-7000-8000-00000000000a",
    "account_id": ACCOUNT_ID,
    "site_id": SITE_ID,
    "user_id": USER_ID,
    "name": "",
    "url": "https://runners.example.org/api/v1/hooks/0197c1de-0000-7000-8000-00000000000a",
    "active": True,
    "mode": "normal",
    "agent": None,
    "model": None,
    "effort": None,
    "branch": None,
    "limits": None,
    "created_at": NOON,
    "updated_at": NOON,
}
HOOK_DELIVERY = {
    "id": "0197c1de-0000-7000-8000-00000000000b",
    "delivery_id": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    "state": "started",
    "subject": "issue-17",
    "agent_runner_id": RUNNER_ID,
    "session_id": SESSION_ID,
    "error": None,
    "created_at": NOON,
}
FORGE_WEBHOOK = {
    "id": "0197c1de-0000-7000-8000-000000000012",
    "account_id": ACCOUNT_ID,
    "site_id": SITE_ID,
    "user_id": USER_ID,
    "url": "https://runners.example.org/api/v1/forge_webhooks/0197c1de-0000-7000-8000-000000000012",
    "archive_merged": True,
    "trigger_name": "@agent-runners",
    "on_failed_checks": "suggest",
    "max_fixes": 3,
    "issue_label": "agent",
    "allowed_people": None,
    "created_at": NOON,
    "updated_at": NOON,
}
FORGE_DELIVERY = {
    "id": "0197c1de-0000-7000-8000-000000000013",
    "delivery_id": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    "event": "review",
    "number": 17,
    "author": "ada",
    "agent_runner_id": RUNNER_ID,
    "session_id": SESSION_ID,
    "state": "done",
    "error": None,
    "created_at": NOON,
}

CREATE_WEBHOOK = {"url": "https://hooks.example.org/agent-runners", "events": ["session.done", "session.error"]}
WEBHOOK = {
    **CREATE_WEBHOOK,
    "format": "json",
    "id": "0197c1de-0000-7000-8000-000000000006",
    "account_id": ACCOUNT_ID,
    "site_id": None,
    "description": "",
    "full": False,
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
