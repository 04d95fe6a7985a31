"""Webhooks, hooks and tokens on the command line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app import db
from app.client import Client
from app.models.states import Scope
from app.services.accounts import tokens
from tests.cli.remote.conftest import Run

pytestmark = pytest.mark.same_on_both_databases


@pytest.fixture
def token(token: str) -> str:
    """Of an administrator, without whom neither hooks nor webhooks are made."""
    with db.transaction():
        return tokens.create_for_email("ada@example.org", Scope.ADMIN, "admin")[1]


def fields(printed: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in printed.splitlines())


def test_a_webhook_is_added_listed_changed_and_removed(run: Run, client: Client, site: dict[str, Any]) -> None:
    added = fields(run("webhooks", "add", "https://hooks.example.org/in", "--event", "session.done").stdout)
    assert added["secret"].startswith("whsec_") and added["url"] == "https://hooks.example.org/in"
    webhook = added["id"]
    [line] = run("webhooks", "list").stdout.splitlines()
    assert line.split("\t") == [webhook, "active", "json", "https://hooks.example.org/in", "session.done"]
    rotated = json.loads(run("webhooks", "rotate", webhook, "--json").stdout)
    assert rotated["secret"] not in ("", added["secret"])
    assert run("webhooks", "set", webhook, "--inactive").status == 0
    assert client.get_webhook(webhook)["state"] == "disabled"
    assert run("webhooks", "deliveries", webhook).stdout == ""
    assert "webhook_disabled" in run("webhooks", "replay", webhook, webhook).stderr, "it delivers nothing now"
    assert run("webhooks", "remove", webhook).status == 0 and run("webhooks", "list").stdout == ""


def test_the_url_of_a_chat_is_read_unseen(run: Run, client: Client, site: dict[str, Any]) -> None:
    secret = "https://hooks.slack.com/services/T0/B0/not-to-be-shown"
    added = run("webhooks", "add", "-", "--format", "slack", "--site", "shop", stdin=f"{secret}\n")
    assert added.status == 0 and "not-to-be-shown" not in added.stdout + run("webhooks", "list", "--json").stdout
    [webhook] = client.webhooks()
    assert (webhook["format"], webhook["site_id"]) == ("slack", site["id"])


def test_a_hook_is_added_listed_stopped_and_removed(run: Run, client: Client, site: dict[str, Any]) -> None:
    prompt = "Fix {{ issue.title }}"
    added = fields(run("hooks", "add", "shop", prompt, "--when", "label.name=agent", "--subject", "all").stdout)
    hook = added["id"]
    assert added["url"].endswith(hook) and added["secret"]
    assert client.get_hook(site["id"], hook)["conditions"] == [{"place": "label.name", "equals": "agent"}]
    assert run("hooks", "stop", "shop", hook).status == 0
    [line] = run("hooks", "list", "shop").stdout.splitlines()
    assert line.split("\t") == [hook, "stopped", added["url"], prompt]
    assert run("hooks", "start", "shop", hook).status == 0 and client.get_hook(site["id"], hook)["active"]
    assert fields(run("hooks", "rotate", "shop", hook).stdout)["secret"] != added["secret"]
    assert run("hooks", "deliveries", "shop", hook, "--json").stdout == "[]\n"
    assert run("hooks", "remove", "shop", hook).status == 0 and run("hooks", "list", "shop").stdout == ""
    assert run("hooks", "add", "shop", prompt, "--when", "label.name").status == 64


def test_a_token_is_created_used_and_revoked(run: Run, client: Client) -> None:
    made = run("tokens", "create", "ci", "--scope", "read")
    assert made.stdout.startswith("ar_") and "only once" in made.stderr
    [line] = [line for line in run("tokens", "list").stdout.splitlines() if line.endswith("\tci")]
    assert line.split("\t")[1] == "read"
    assert run("tokens", "revoke", line.split("\t")[0]).status == 0
    assert "\tci" not in run("tokens", "list").stdout


def test_a_token_can_expire(run: Run, client: Client) -> None:
    made = json.loads(run("tokens", "create", "ci", "--days", "7", "--json").stdout)
    assert made["expires_at"] is not None
    [line] = [line for line in run("tokens", "list").stdout.splitlines() if line.endswith("\tci")]
    assert line.split("\t")[3:] == [made["expires_at"], "", "ci"]


def test_members_are_added_changed_and_removed(run: Run) -> None:
    added = run("members", "add", "grace@example.org", "Grace Hopper")
    assert added.stdout.startswith("ar_") and "only once" in added.stderr
    member = json.loads(run("members", "list", "--json").stdout)[1]["id"]
    assert run("members", "list").stdout.splitlines()[1] == f"{member}\tmember\tgrace@example.org\tGrace Hopper"
    assert json.loads(run("members", "set", member, "--role", "viewer", "--json").stdout)["role"] == "viewer"
    assert run("members", "set", member).status == 64
    assert run("members", "remove", member).status == 0
    assert "\tdisabled\t" in run("members", "list").stdout


def test_a_forge_webhook_is_added_shown_changed_and_removed(run: Run, client: Client, site: dict[str, Any]) -> None:
    added = fields(run("forge-webhooks", "add", "shop", "--archive-merged").stdout)
    assert added["secret"] and added["url"].endswith(added["id"])
    assert run("forge-webhooks", "set", "shop", "--keep-merged", "--max-fixes", "2").status == 0
    people = ("--allowed-person", "ada", "--allowed-person", "grace")
    assert run("forge-webhooks", "set", "shop", *people).status == 0
    assert run("forge-webhooks", "set", "shop").status == 64
    shown = fields(run("forge-webhooks", "show", "shop").stdout)
    assert (shown["url"], shown["archive_merged"], shown["max_fixes"]) == (added["url"], "False", "2")
    assert shown["allowed_people"] == "ada, grace"
    assert run("forge-webhooks", "set", "shop", "--allowed-person", "").status == 0
    assert client.get_forge_webhook(site["id"])["allowed_people"] is None
    assert json.loads(run("forge-webhooks", "show", "shop", "--json").stdout) == client.get_forge_webhook(site["id"])
    assert fields(run("forge-webhooks", "rotate", "shop").stdout)["secret"] != added["secret"]
    assert run("forge-webhooks", "deliveries", "shop", "--json").stdout == "[]\n"
    assert run("forge-webhooks", "remove", "shop").status == 0
    assert "forge_webhook_not_found" in run("forge-webhooks", "show", "shop").stderr
