"""Sites, and the addresses that they may not have."""

from __future__ import annotations

import uuid

import pytest
import sqlalchemy as sa

from app import db
from app.models import Site
from tasks.jobs.host import this_host
from tests.api.calling import created, empty, ok, path_of, refused

# Every other file of this folder also makes sites.
pytestmark = pytest.mark.same_on_both_databases

SITE_FIELDS = [
    "id",
    "account_id",
    "name",
    "repo_url",
    "default_branch",
    "forge",
    "forge_api_url",
    "default_agent",
    "default_model",
    "fallback_agents",
    "on_quota",
    "setup_command",
    "setup_cache_files",
    "sparse_paths",
    "partial_clone",
    "protected_branches",
    "egress_hosts",
    "allow_agent_configuration",
    "sensitive_files",
    "pr_branch_pattern",
    "pr_title_template",
    "pr_body_template",
    "pr_labels",
    "pr_reviewers",
    "pr_assignees",
    "pr_status",
    "mcp_servers",
    "max_duration_seconds",
    "max_cost_usd",
    "max_concurrent_sessions",
    "execution",
    "created_at",
    "updated_at",
    "has_access_token",
]

SERVER = {
    "name": "docs",
    "url": None,
    "command": ["npx", "docs"],
    "credential": None,
    "variables": [],
    "disabled_tools": [],
}

HOSTILE = [
    "ext::sh -c 'touch /tmp/owned'",
    "ext::sh",
    "fd::17",
    "--upload-pack=touch /tmp/owned",
    "-oProxyCommand=id",
    "file:///etc",
    "/etc/passwd",
    "../x",
    "x",
    "git://example.org/x.git",
    "http://example.org/x.git",
    "ssh://git@example.org/x.git",
    "git@example.org:x.git",
    "ssh://-oProxyCommand=id/x",
    "https://user:secret@example.org/x.git",
    "https://token@example.org/x.git",
    "https://example.org:0/x.git",
    "https://example.org/$HOME/x.git",
    "https://example.org/x.git\n--upload-pack=id",
    "https://example.org/x y.git",
    "https://example.org/%0ahost",
    "https://example.org/%00",
    "https://example.org/a/../../b",
    "https://example.org/%2e%2e/b",
    "https://example.org/x.git?a=b",
    "https://example.org/x.git#main",
    "https://example.org",
    "https://example.org/",
    "https:///x.git",
    "https://",
    "https://[::1/x",
    "https://example.org:99999/x",
    "https://localhost/x.git",
    "https://metadata/x.git",
    "https://git.internal/x.git",
    "https://printer.local/x.git",
    "https://127.0.0.1/x.git",
    "https://127.1/x.git",
    "https://2130706433/x.git",
    "https://0x7f000001/x.git",
    "https://0177.0.0.1/x.git",
    "https://0/x.git",
    "https://10.0.0.8/x.git",
    "https://192.168.1.1/x.git",
    "https://172.16.0.1/x.git",
    "https://100.64.0.1/x.git",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/x.git",
    "https://[fd00::1]/x.git",
    "https://[fe80::1%25eth0]/x.git",
    "https://[::ffff:127.0.0.1]/x.git",
    "https://localhost./x.git",
    "https://example.org./x.git",
    "",
    "\0",
]


def test_a_site_shows_every_field_and_never_its_token(api, ada):
    response = api.post("/sites", {"repo_url": "https://github.com/example/shop.git", "access_token": "gh-hush"})
    site = created(response)
    assert set(site) == set(SITE_FIELDS)
    assert (site["name"], site["default_branch"], site["forge"], site["execution"]) == (
        "shop",
        None,
        "github",
        "internal",
    )
    assert site["account_id"] == str(ada.user.account_id) and site["has_access_token"]
    assert site["protected_branches"] == [] and site["egress_hosts"] == []
    assert site["allow_agent_configuration"] is False
    assert site["max_cost_usd"] is None and site["forge_api_url"] is None
    assert ok(api.get(f"/sites/{site['id']}")) == site and ok(api.get("/sites")) == [site]
    assert response.headers["Location"].endswith(f"/api/v1/sites/{site['id']}")
    assert "gh-hush" not in response.text + api.get("/sites").text


def test_a_token_is_encrypted_at_rest(api, make_site, engine):
    make_site(access_token="gh-hush")
    with engine.connect() as connection:
        kept = connection.scalar(sa.text("SELECT access_token_encrypted FROM sites"))
    assert kept and "gh-hush" not in kept


def test_a_site_is_changed_field_by_field(api, make_site):
    site = make_site()
    fields = {
        "name": "Shop",
        "default_branch": "trunk",
        "forge": "GITLAB",
        "forge_api_url": "https://git.example.org/api/v4",
        "default_agent": "claude",
        "default_model": "opus",
        "fallback_agents": ["codex", "claude:sonnet"],
        "on_quota": "wait",
        "setup_command": "npm ci",
        "setup_cache_files": ["package-lock.json", "web/package-lock.json"],
        "sparse_paths": ["services/shop", "libs/"],
        "partial_clone": True,
        "protected_branches": ["trunk", "release/*"],
        "egress_hosts": ["packages.example.com", "*.example.org:8443"],
        "allow_agent_configuration": True,
        "sensitive_files": "refuse",
        "pr_branch_pattern": "agents/{{ user }}/{{slug}}-{{ id }}",
        "pr_title_template": "[agent] {{ title }}",
        "pr_body_template": "For {{ user }}:\n\n{{ sessions }}\n\n{{ url }}",
        "pr_labels": ["agent"],
        "pr_reviewers": ["ada", "acme/backend"],
        "pr_assignees": [],
        "pr_status": True,
        "mcp_servers": [SERVER],
        "max_duration_seconds": 60,
        "max_cost_usd": 1.5,
        "max_concurrent_sessions": 2,
        "execution": "external",
    }
    changed = ok(api.patch(f"/sites/{site['id']}", fields))
    assert {name: changed[name] for name in fields} == {**fields, "forge": "gitlab"}
    assert ok(api.patch(f"/sites/{site['id']}", {"protected_branches": []}))["protected_branches"] == []
    assert ok(api.patch(f"/sites/{site['id']}", {"protected_branches": None}))["protected_branches"] == ["trunk"]
    assert ok(api.patch(f"/sites/{site['id']}", {"max_cost_usd": None}))["max_cost_usd"] is None


NO_FOLDERS = ["", "/", "/services", "..", "a/../b", "./a", "a/.", "a//b", "a\0b", "a\nb", "x" * 1001]


def test_only_folders_in_the_repository_can_be_checked_out(api, make_site):
    site = make_site()
    for paths in (*([path] for path in NO_FOLDERS), ["a"] * 101):
        assert list(api.patch(f"/sites/{site['id']}", {"sparse_paths": paths}).json["errors"]) == ["sparse_paths"], (
            paths
        )
    assert ok(api.patch(f"/sites/{site['id']}", {"sparse_paths": ["a/..b/.c", "...", "d e/ö"]}))["sparse_paths"]
    assert ok(api.patch(f"/sites/{site['id']}", {"sparse_paths": None}))["sparse_paths"] is None


@pytest.mark.parametrize(
    ("field", "elsewhere"),
    [
        ("repo_url", "https://evil.example.org/shop.git"),
        ("forge_api_url", "https://evil.example.org/api/v3"),
        ("forge", "gitea"),
    ],
)
def test_a_token_is_not_kept_for_another_address(api, make_site, field, elsewhere):
    site = make_site(access_token="gh-hush")
    path = f"/sites/{site['id']}"
    assert ok(api.patch(path, {field: site[field], "name": "shop"}))["has_access_token"]
    assert not ok(api.patch(path, {field: elsewhere}))["has_access_token"]
    assert ok(api.patch(path, {field: site[field], "access_token": "gh-hush"}))["has_access_token"]
    assert ok(api.patch(path, {"access_token": "again"}))["has_access_token"]
    assert not ok(api.patch(path, {"access_token": None}))["has_access_token"]


def test_a_hostile_address_is_refused_at_once(api, make_site):
    site = make_site()
    for url in HOSTILE:
        for response in (
            api.post("/sites", {"repo_url": url}),
            api.patch(f"/sites/{site['id']}", {"repo_url": url}),
        ):
            assert response.status_code == 422, (url, response.text)
            assert list(response.json["errors"]) == ["repo_url"]
            assert "secret" not in response.text


def test_local_repositories_are_for_the_folder_that_the_operator_names(api, tmp_path, configure):
    (tmp_path / "repositories" / "shop").mkdir(parents=True)
    (tmp_path / "repositories" / "link").symlink_to("/etc")
    configure(LOCAL_REPOSITORIES=str(tmp_path / "repositories"))
    inside = tmp_path / "repositories" / "shop"
    for url in (str(inside), f"file://{inside}"):
        assert created(api.post("/sites", {"repo_url": url}))["forge"] == "none"
    for url in (
        f"{inside}/../../data",
        str(tmp_path / "repositories"),
        str(tmp_path / "repositories" / "link"),
        "/etc",
    ):
        refused(api.post("/sites", {"repo_url": url}), 422, "local_path")


def test_an_account_may_have_a_folder_of_local_repositories_of_its_own(api, ada, join, tmp_path, configure):
    eve = join("Eve")
    configure(LOCAL_REPOSITORIES=str(tmp_path / "{account}"))
    own, other = (tmp_path / str(user.account_id) / "shop" for user in (ada.user, eve.user))
    created(api.post("/sites", {"repo_url": str(own)}))
    for url in (str(other), f"file://{own.parent}/../{other.parent.name}/shop", str(tmp_path / "{account}" / "shop")):
        refused(api.post("/sites", {"repo_url": url}), 422, "local_path")
    created(eve.admin.post("/sites", {"repo_url": str(other)}))
    assert this_host(eve.user.account_id).local_repositories == other.parent


def test_what_the_operator_allows_is_allowed(api, configure):
    configure(ALLOW_SSH="1", ALLOW_HTTP="1", ALLOW_PRIVATE_ADDRESSES="1")
    for url in ("ssh://git@git.example.org/x.git", "http://10.0.0.8/x.git", "https://localhost:3000/x/y.git"):
        created(api.post("/sites", {"repo_url": url}))


@pytest.mark.parametrize("url", ["git@github.com:example/shop.git", "ssh://git@github.com/example/shop.git"])
def test_an_ssh_address_is_answered_with_its_https_form_and_the_setting(api, configure, url):
    response = api.post("/sites", {"repo_url": url})
    refused(response, 422, "bad_repo_url")
    assert "https://github.com/example/shop.git" in response.json["message"]
    assert "AGENT_RUNNERS_ALLOW_SSH" in response.json["message"]
    configure(ALLOW_SSH="1")
    if url.startswith("git@"):
        assert "ssh://git@github.com/example/shop.git" in api.post("/sites", {"repo_url": url}).json["message"]
    else:
        created(api.post("/sites", {"repo_url": url}))


@pytest.mark.parametrize("url", ["github.com/a/b", "git://github.com/a/b", "http://github.com/a/b"])
def test_an_address_without_https_is_answered_with_its_https_form(api, url):
    body = refused(api.post("/sites", {"repo_url": url}), 422, "bad_repo_url")
    assert body["message"] == "repo_url: must begin with https://, as in https://github.com/a/b"


def test_branches_of_a_site_are_kept_without_their_prefix(api, make_site):
    site = make_site(default_branch="refs/heads/trunk", protected_branches=["refs/heads/trunk", "heads/release/*"])
    assert (site["default_branch"], site["protected_branches"]) == ("trunk", ["trunk", "release/*"])
    assert ok(api.patch(f"/sites/{site['id']}", {"default_branch": None}))["default_branch"] is None


INVALID = [
    ("name", ""),
    ("name", None),
    ("forge", "sourceforge"),
    ("forge_api_url", "http://169.254.169.254/"),
    ("forge_api_url", "https://127.0.0.1/api"),
    ("forge_api_url", "https://a:b@example.org"),
    ("forge_api_url", "https://example.org:0"),
    ("forge_api_url", "file:///etc"),
    ("default_agent", "clippy"),
    ("protected_branches", "main"),
    ("egress_hosts", ["http://x"]),
    ("egress_hosts", ["a b"]),
    ("egress_hosts", None),
    ("allow_agent_configuration", "yes"),
    ("allow_agent_configuration", None),
    ("sensitive_files", "ask"),
    ("pr_labels", [" "]),
    ("pr_reviewers", ["x"] * 11),
    ("mcp_servers", [{**SERVER, "url": "https://example.org/mcp"}]),
    ("mcp_servers", [{"name": "docs"}]),
    ("mcp_servers", [{"name": "questions", "command": ["x"]}]),
    ("mcp_servers", [SERVER, SERVER]),
    ("mcp_servers", [{**SERVER, "credential": "TOKEN"}]),
    *(
        ("mcp_servers", [{"name": "a", "url": url}])
        for url in ("http://a.example", "https://a:b@a.example", "https://", "https://[")
    ),
    ("max_concurrent_sessions", 0),
    ("max_duration_seconds", "60"),
    ("execution", "elsewhere"),
    ("has_access_token", True),
    ("id", "x"),
]


def test_an_invalid_field_is_refused_by_name(api, make_site):
    site = make_site()
    for field, value in INVALID:
        response = api.patch(f"/sites/{site['id']}", {field: value})
        assert response.status_code == 422 and list(response.json["errors"]) == [field], (field, value)


def test_deleting_a_site_hides_it_and_its_runners(api, make_site, make_done_runner, make_runner):
    site = make_site(access_token="gh-hush")
    runner = make_done_runner(site=site)
    waiting = make_runner(site=site)
    refused(api.delete(f"/sites/{site['id']}"), 409, "active_session_exists")
    empty(api.delete(path_of(waiting)), 202)
    empty(api.delete(f"/sites/{site['id']}"), 204)
    refused(api.get(f"/sites/{site['id']}"), 404, "site_not_found")
    refused(api.delete(f"/sites/{site['id']}"), 404, "site_not_found")
    refused(api.get(path_of(runner)), 404, "agent_runner_not_found")
    assert ok(api.get("/sites")) == ok(api.get("/agent_runners")) == []
    refused(api.post("/agent_runners", {"site_id": site["id"], "prompt": "x"}), 404, "site_not_found")


def test_an_account_has_so_many_sites_and_no_more(api, join, make_site, configure):
    """Each has a mirror on each host, and 50 schedules with prompts of their own."""
    configure(MAX_ACCOUNT_SITES="2")
    first, _ = make_site(), make_site()
    refused(api.post("/sites", {"repo_url": "https://github.com/example/x.git"}), 409, "too_many_sites")
    empty(api.delete(f"/sites/{first['id']}"), 204)
    refused(api.post("/sites", {"repo_url": "https://github.com/example/x.git"}), 409, "too_many_sites")
    with db.transaction():
        db.session.get_one(Site, uuid.UUID(first["id"])).deleted_at = db.now(-90_000)
    created(api.post("/sites", {"repo_url": "https://github.com/example/x.git"}))
    created(join("Eve").admin.post("/sites", {"repo_url": "https://github.com/example/x.git"}))
