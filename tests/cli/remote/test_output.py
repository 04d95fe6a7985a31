"""Exactly what commands print about the same things: on a terminal, in a pipe, and as JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from app import db
from app.client import Client
from app.models.states import Scope
from app.services.accounts import tokens
from tests.cli.remote.conftest import Run

pytestmark = pytest.mark.same_on_both_databases
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
_STYLE = re.compile(r"\x1b\[[0-9;]*m")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


@pytest.fixture
def token(token: str) -> str:
    """Of an administrator."""
    with db.transaction():
        return tokens.create_for_email("ada@example.org", Scope.ADMIN, "admin")[1]


@pytest.fixture
def everything(client: Client, site: dict[str, Any]) -> None:
    """One of everything that is listed."""
    client.create_webhook("https://hooks.example.org/in", events=["session.done", "session.error"])
    client.create_hook(site["id"], "Fix {{ issue.title }}")
    client.create_schedule(site["id"], "0 9 * * MON", "Update the dependencies.", timezone="Europe/Berlin")
    client.create_budget("month", max_tokens=1_000_000)
    client.create_account_variable("NPM_TOKEN", value="not to be shown")


GOLDEN = {
    "sites list": (
        "NAME  REPOSITORY                           BRANCH  ID\nshop  https://github.com/example/shop.git  main    {id}",
        "shop\thttps://github.com/example/shop.git\tmain\t{id}",
    ),
    "webhooks list": (
        "ID                                    STATE   FORMAT  URL                           EVENTS\n"
        "{id}  active  json    https://hooks.example.org/in  session.done, session.error",
        "{id}\tactive\tjson\thttps://hooks.example.org/in\tsession.done, session.error",
    ),
    "schedules list shop": (
        "ID                                    CRON         TIME ZONE      NEXT                      ERROR  WHAT\n"
        "{id}  0 9 * * MON  Europe/Berlin  {time}         Update the dependencies.",
        "{id}\t0 9 * * MON\tEurope/Berlin\t{time}\t\tUpdate the dependencies.",
    ),
    "budgets list": (
        "FOR          PER    COST  TOKENS          UNTIL                     ID\n"
        "(all sites)  month  $0    0 of 1,000,000  {time}  {id}",
        "(all sites)\tmonth\t$0\t0 of 1,000,000\t{time}\t{id}",
    ),
    "members list": (
        "ID                                    ROLE   EMAIL            NAME\n{id}  admin  ada@example.org  Ada Lovelace",
        "{id}\tadmin\tada@example.org\tAda Lovelace",
    ),
}


def _masked(printed: str) -> str:
    """Without what differs each time, in the same width."""
    return _TIME.sub("2026-11-28T12:00:00.000Z", _ID.sub("0197c1de-0000-7000-8000-000000000001", printed))


def test_lists_are_tables_on_a_terminal_lines_in_a_pipe_and_whole_as_json(
    run: Run, everything: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    known = {"id": "0197c1de-0000-7000-8000-000000000001", "time": "2026-11-28T12:00:00.000Z"}
    for command, (table, lines) in GOLDEN.items():
        shown = "\n".join(
            line.rstrip() for line in _STYLE.sub("", run(*command.split(), is_terminal=True).stdout).splitlines()
        )
        assert _masked(shown) == table.format(**known), command
        assert _masked(run(*command.split()).stdout) == lines.format(**known) + "\n", command
        [item] = json.loads(run(*command.split(), "--json").stdout)
        assert item["id"], command


def test_an_id_is_shown_whole_on_a_narrow_terminal(
    run: Run, everything: None, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    [webhook] = client.webhooks()
    assert webhook["id"] in run("webhooks", "list", is_terminal=True).stdout


def test_a_secret_is_in_no_list(run: Run, everything: None) -> None:
    assert "not to be shown" not in run("variables", "list", is_terminal=True).stdout
    assert "not to be shown" not in run("variables", "list", "--json").stdout


def test_what_is_removed_or_stopped_is_named_as_json(run: Run, client: Client, site: dict[str, Any]) -> None:
    def printed(*command: str) -> Any:
        done = run(*command, "--json")
        assert done.status == 0, done.stderr
        return json.loads(done.stdout)

    webhook, hook = client.create_webhook("https://hooks.example.org/in"), client.create_hook(site["id"], "Fix it")
    schedule = client.create_schedule(site["id"], "0 9 * * MON", "Update the dependencies.")
    assert printed("hooks", "stop", "shop", hook["id"])["active"] is False
    assert printed("hooks", "start", "shop", hook["id"])["active"] is True
    assert printed("schedules", "stop", "shop", schedule["id"])["active"] is False
    assert printed("schedules", "start", "shop", schedule["id"])["active"] is True
    assert printed("schedules", "run", "shop", schedule["id"])["last_runner_id"]
    budget, token = client.create_budget("day", max_tokens=1), client.create_token(name="ci", scope="read")
    variable = client.create_account_variable("NPM_TOKEN", value="not to be shown")
    member = client.create_member("grace@example.org", "Grace Hopper")
    assert printed("webhooks", "remove", webhook["id"]) == {"id": webhook["id"]}
    assert printed("hooks", "remove", "shop", hook["id"]) == {"id": hook["id"]}
    assert printed("schedules", "remove", "shop", schedule["id"]) == {"id": schedule["id"]}
    assert printed("budgets", "remove", budget["id"]) == {"id": budget["id"]}
    assert printed("variables", "remove", "NPM_TOKEN") == {"id": variable["id"]}
    assert printed("tokens", "revoke", token["id"]) == {"id": token["id"]}
    assert printed("members", "remove", member["id"]) == {"id": member["id"]}
    client.create_forge_webhook(site["id"])
    assert printed("forge-webhooks", "remove", "shop") == {"site_id": site["id"]}


def test_what_becomes_of_a_runner_is_printed_as_json(run: Run, client: Client, site: dict[str, Any]) -> None:
    runner = client.create_runner(site["id"], "Make it b", agent="codex")
    stopped = json.loads(run("stop", "--json").stdout)
    assert (stopped["id"], stopped["state"]) == (runner["latest_session_id"], "CANCELLED")
    assert json.loads(run("archive", "--json").stdout)["state"] == "ARCHIVED"
    assert json.loads(run("archive", "--undo", runner["id"], "--json").stdout)["id"] == runner["id"]
    assert json.loads(run("console", "--json").stdout)["url"].startswith("http")


def test_login_and_logout_print_json(run_logged_out: Run, token: str) -> None:
    done = run_logged_out("login", "http://testserver", "--json", stdin=f"{token}\n")
    assert json.loads(done.stdout)["email"] == "ada@example.org" and token not in done.stdout
    assert json.loads(run_logged_out("logout", "--json").stdout) == {"url": "http://testserver"}
    assert json.loads(run_logged_out("logout", "--json").stdout) == {"url": None}
