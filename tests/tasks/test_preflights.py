"""A control worker's part of a preflight."""

from __future__ import annotations

import uuid

from app import db
from app.models.states import Scope
from app.services.callers import Caller
from app.services.preflights import preflights
from app.services.sites import sites
from app.services.sites.sites import SiteFields
from app.services.variables import variables
from app.services.variables.variables import VariableFields
from tasks.preflights import run_preflight
from tests.tasks.conftest import read, runner_of

LOCAL = {"name": "docs", "command": ["docs-mcp"]}


def test_a_worker_records_what_it_finds_and_tells_no_secret(ask):
    session_id = ask("true")
    runner = runner_of(session_id)
    ada = Caller(runner.account_id, read(session_id).user_id, uuid.uuid4(), Scope.ADMIN)
    key = VariableFields(value="key-of-the-account")
    with db.transaction():
        sites.update(ada, runner.site_id, SiteFields(access_token="token-of-the-forge", mcp_servers=[LOCAL]))
        variables.create(ada, None, "OPENAI_API_KEY", key)
        found = preflights.request(ada, runner.site_id, agent="shell", branch="key-of-the-account", run_setup=False)
    run_preflight(str(found.row.id))
    with db.transaction(read_only=True):
        after = preflights.get(ada, runner.site_id, found.row.id)
    codes = {check["name"]: check["code"] or check["status"] for check in after.checks}
    assert codes == {
        "agent": "no_worker",
        "sandbox": "no_worker",
        "token": "ok",
        "repository": "ok",
        "branch": "branch_not_found",
        "push": "ok",
        "forge": "skipped",
        "model_key": "skipped",
        "mcp_server": "skipped",
    }
    assert (after.state, after.ok) == ("done", False)
    assert "key-of-the-account" not in str(after.checks) and "[redacted]" in str(after.checks)
