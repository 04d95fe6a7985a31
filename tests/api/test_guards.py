"""What protects a repository, and those who read files: only administrators lower it, and browsers show nothing of it."""

from __future__ import annotations

import pytest

from app import artifacts
from app.models.states import Scope
from tests.api.calling import created, ok, refused

pytestmark = pytest.mark.same_on_both_databases

REPOSITORY = "https://github.com/example/shop.git"


@pytest.fixture
def writer(ada):
    return ada.holding(Scope.WRITE)


LOWER = [
    {"protected_branches": []},
    {"protected_branches": ["main"]},
    {"default_branch": "elsewhere"},
    {"egress_hosts": ["pypi.org", "evil.example"]},
    {"allow_agent_configuration": True},
    {"mcp_servers": [{"name": "docs", "command": ["npx", "docs"]}]},
    {"sensitive_files": "warn"},
]


def test_a_token_that_may_write_does_not_lower_what_protects_a_site(api, writer, make_site):
    for fields in LOWER:
        first = {"default_branch": "main", "egress_hosts": ["pypi.org"], "sensitive_files": "refuse"}
        if "default_branch" not in fields:
            first |= {"protected_branches": ["main", "release/*"]}
        site = make_site(**first)
        refused(writer.patch(f"/sites/{site['id']}", fields), 403, "scope_missing")
        assert ok(api.get(f"/sites/{site['id']}")) == site
        assert ok(api.patch(f"/sites/{site['id']}", fields)) != site


@pytest.mark.parametrize(
    "fields", [{"protected_branches": []}, {"egress_hosts": ["evil.example"]}, {"allow_agent_configuration": True}]
)
def test_nor_does_it_create_a_site_with_less(api, writer, fields):
    refused(writer.post("/sites", {"repo_url": REPOSITORY, **fields}), 403, "scope_missing")
    created(api.post("/sites", {"repo_url": REPOSITORY, **fields}))


def test_it_may_protect_more_and_change_everything_else(writer):
    site = created(writer.post("/sites", {"repo_url": REPOSITORY, "default_branch": "main"}))
    more = {
        "protected_branches": ["main", "release/*"],
        "egress_hosts": [],
        "allow_agent_configuration": False,
        "sensitive_files": "refuse",
        "setup_command": "make",
    }
    assert ok(writer.patch(f"/sites/{site['id']}", more)).items() >= more.items()


def test_no_page_may_show_an_answer_in_a_frame(api):
    for path in ("/sites", "/docs", "/nothing", "/openapi.json"):
        headers = api.get(path).headers
        assert headers["X-Frame-Options"] == "DENY" and "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_a_browser_saves_a_file_and_never_runs_it(api):
    artifacts.store().put("user-uploaded-content/page.html", [b"<script>"])
    read = api.with_token(None).get(artifacts.store().signed_get("user-uploaded-content/page.html", seconds=60).url)
    assert read.data == b"<script>" and read.headers["Content-Disposition"] == "attachment"
    assert "sandbox" in read.headers["Content-Security-Policy"]
