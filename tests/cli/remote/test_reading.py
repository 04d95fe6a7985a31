"""See what runs did, and decide what becomes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.cli.errors import ExitStatus
from app.client import Client
from tests.cli.remote.conftest import Run
from tests.cli.remote.test_running import CHANGE

pytestmark = pytest.mark.same_on_both_databases
SETTINGS = (
    ("--default-branch", "main"),
    ("--default-agent", "claude"),
    ("--default-model", "opus"),
    ("--fallback-agent", "codex"),
    ("--fallback-agent", "claude:sonnet"),
    ("--setup-command", "npm ci"),
    ("--sparse-path", "services/shop"),
    ("--sparse-path", "libs"),
    ("--egress-host", "a.example"),
    ("--forge-api-url", "https://api.example.org"),
    ("--pr-branch-pattern", "agents/{{ id }}"),
    ("--pr-title-template", "[agent] {{ title }}"),
    ("--pr-body-template", "{{ sessions }}"),
    ("--pr-label", "agent"),
    ("--pr-reviewer", "ada"),
    ("--pr-assignee", "ada"),
)


@pytest.fixture
def runner(client: Client, site: dict[str, Any], worker: Any) -> dict[str, Any]:
    """A runner that is DONE, with a diff and a step."""
    runner = client.create_runner(site["id"], "Make it b\tplease", agent="codex")
    claim = worker.claim(runner["latest_session_id"])
    worker.step(claim, "Looked \x1b[31maround", "in a.txt")
    worker.finish(claim, diff=CHANGE, base_sha="0" * 40)
    return client.get_runner(runner["id"])


def test_the_agent_that_took_over_is_shown(run: Run, client: Client, site: dict[str, Any], worker: Any) -> None:
    runner = client.create_runner(site["id"], "Make it b", agent="claude")
    claim = worker.claim(runner["latest_session_id"])
    worker.hand_over(claim, "codex", "gpt-5")
    worker.finish(claim, diff=CHANGE)
    assert run("list").stdout.split("\t")[3] == "codex"
    assert run("show").stdout.splitlines()[-1].split("\t")[2] == "claude, then codex:gpt-5"
    assert "Worked on by claude, then codex:gpt-5." in run("follow", "--wait").stderr


def test_the_diff_is_printed_byte_for_byte_or_as_a_list_of_files(run: Run, runner: dict[str, Any]) -> None:
    assert run("diff", runner["id"]).stdout == CHANGE
    assert run("diff", "--session", "latest", "--cumulative").stdout == CHANGE
    assert run("diff", "--stat").stdout == "a.txt\t1\t1\n"
    assert [file["path"] for file in json.loads(run("diff", "--json").stdout)] == ["a.txt"]


def test_what_differs_between_two_sessions_is_printed(
    run: Run, client: Client, runner: dict[str, Any], worker: Any
) -> None:
    first = runner["latest_session_id"]
    assert run("diff", "--from", "base").stdout == CHANGE
    assert run("diff", "--from", "base", "--to", first, "--stat").stdout == "a.txt\t1\t1\n"
    same = run("diff", "--from", first)
    assert (same.stdout, same.stderr.splitlines()[-1]) == ("", "The files are the same.")
    assert json.loads(run("diff", "--from", first, "--json").stdout) == []
    assert run("diff", "--from", "base", "--apply").status == run("diff", "--to", first).status == ExitStatus.USAGE


def test_lists_have_a_line_for_each_runner(run: Run, runner: dict[str, Any]) -> None:
    assert run("list").stdout.split("\t")[0] == runner["id"][-8:]
    assert run("list").stdout.endswith("Make it b please\n")
    assert run("list", "--mine", "--state", "done", "--json").stdout.count(runner["id"]) == 1
    assert run("list", "--state", "ERROR").stdout == ""
    assert run("list", "--title", "make IT").stdout != ""


def test_a_runner_is_shown_with_its_sessions_and_steps(run: Run, runner: dict[str, Any]) -> None:
    shown = run("show").stdout
    assert runner["id"] in shown and "codex" in shown and "DONE" in shown
    assert json.loads(run("show", "--json").stdout)["sessions"][0]["id"] == runner["latest_session_id"]
    steps = run("steps").stdout
    assert "Looked \\x1b[31maround" in steps and "in a.txt" in steps, "a step cannot write to the terminal"
    assert json.loads(run("steps", "--json").stdout)[0]["message"] == "in a.txt"


def test_a_runner_is_reverted_archived_and_brought_back(run: Run, client: Client, runner: dict[str, Any]) -> None:
    assert run("revert").status == ExitStatus.USAGE
    assert run("revert", "--base").status == 0
    assert not client.get_runner(runner["id"])["has_result_diff"]
    assert run("revert", "--session", runner["latest_session_id"]).status == 0
    assert client.get_runner(runner["id"])["has_result_diff"]
    assert run("archive", runner["id"][-8:]).status == 0
    assert client.get_runner(runner["id"])["state"] == "ARCHIVED"
    assert run("archive", "--undo").status == ExitStatus.USAGE, "the newest of the list is not archived"
    assert run("archive", "--undo", runner["id"]).status == 0
    assert client.get_runner(runner["id"])["state"] == "DONE"


def test_a_runner_is_purged_after_a_question(run: Run, client: Client, runner: dict[str, Any]) -> None:
    assert run("purge").status == ExitStatus.USAGE, "never the newest one by itself"
    assert run("purge", runner["id"]).status == ExitStatus.INTERRUPTED, "nobody answers the question"
    assert client.get_runner(runner["id"])["id"] == runner["id"]
    assert json.loads(run("purge", runner["id"][-8:], "--yes", "--json").stdout) == {"id": runner["id"]}
    assert run("purge", runner["id"], "--yes").status == ExitStatus.ERROR


def test_a_runner_is_rebased(
    run: Run, client: Client, runner: dict[str, Any], when_started: Callable[..., threading.Thread]
) -> None:
    playing = when_started(diff=CHANGE, base_sha="1" * 40, result="Reapplied on 111111111111, the tip of main.")
    assert "Reapplied" in run("rebase").stderr
    playing.join()
    assert client.get_runner(runner["id"])["base_sha"] == "1" * 40
    client.archive(runner["id"])
    assert "archived" in run("rebase", runner["id"], "--resolve", "agent").stderr
    assert "needs `resolve`" in run("rebase", runner["id"], "--prompt", "Keep ours.").stderr
    assert "archived" in run("rebase", runner["id"], "--check").stderr


def test_a_session_is_stopped(run: Run, client: Client, site: dict[str, Any]) -> None:
    runner = client.create_runner(site["id"], "Make it b", agent="codex")
    assert "Stopped" in run("stop").stderr
    assert client.get_session(runner["id"], runner["latest_session_id"])["state"] == "CANCELLED"
    again = run("stop")
    assert again.status == ExitStatus.ERROR and "[no_active_session]" in again.stderr


def test_what_may_not_be_published_is_refused_with_the_reason(run: Run, runner: dict[str, Any]) -> None:
    refused = run("commit", "main", runner["id"])
    assert "Look closely" not in refused.stderr
    assert refused.status == ExitStatus.ERROR and "protected" in refused.stderr


def test_sensitive_files_are_named_before_they_are_published(
    run: Run, client: Client, site: dict[str, Any], worker: Any
) -> None:
    runner = client.create_runner(site["id"], "Own it", agent="codex")
    worker.run(runner["latest_session_id"], diff=CHANGE.replace("a.txt", "CODEOWNERS"))
    assert run("sites", "set", site["name"], "--sensitive-files", "refuse").status == 0
    refused = run("pr", "--label", "agent", "--reviewer", "ada")
    assert "Look closely: CODEOWNERS (CODEOWNERS)" in refused.stderr and "The site refuses" in refused.stderr


def test_sites_are_created_listed_and_changed(run: Run, client: Client) -> None:
    added = run("sites", "add", "https://github.com/example/shop.git", "--with-token", stdin="a-secret-token\n")
    assert added.status == 0, added.stderr
    [site] = client.sites()
    assert added.stdout.strip() == site["id"] and site["has_access_token"]
    assert run("sites", "set", "shop", "--setup-command", "npm ci", "--egress-host", "a.example").status == 0
    changed = json.loads(run("sites", "list", "--json").stdout)[0]
    assert (changed["setup_command"], changed["egress_hosts"]) == ("npm ci", ["a.example"])
    agents = ("--default-agent", "claude", "--fallback-agent", "codex", "--fallback-agent", "claude:opus")
    changed = json.loads(run("sites", "set", "shop", *agents, "--default-model", "sonnet", "--json").stdout)
    assert (changed["default_model"], changed["fallback_agents"]) == ("sonnet", ["codex", "claude:opus"])
    assert run("sites", "list").stdout.split("\t")[:2] == ["shop", "https://github.com/example/shop.git"]


def test_an_empty_value_removes_a_setting_of_a_site(run: Run, client: Client) -> None:
    site = client.create_site("https://github.com/example/shop.git", name="shop", access_token="a-secret-token")
    assert run("sites", "set", "shop", *(text for pair in SETTINGS for text in pair)).status == 0
    assert json.loads(run("sites", "set", "shop", "--partial-clone", "--json").stdout)["partial_clone"] is True
    full = client.get_site(site["id"])
    alone = json.loads(run("sites", "set", "shop", "--fallback-agent", "", "--json").stdout)
    changed = {name for name in full if full[name] != alone[name]}
    assert changed == {"fallback_agents", "updated_at"} and alone["fallback_agents"] is None
    nothing = [text for option in dict(SETTINGS) for text in (option, "")]
    off = ("--without-token", "--no-partial-clone")
    empty = json.loads(run("sites", "set", "shop", *nothing, *off, "--json").stdout)
    assert {**empty, "updated_at": site["updated_at"]} == {**site, "has_access_token": False}
    refused = run("sites", "set", "shop", "--forge", "")
    assert refused.status == ExitStatus.ERROR and "forge" in refused.stderr


def test_agents_are_listed_with_what_is_missing(run: Run) -> None:
    listed = [line.split("\t") for line in run("agents").stdout.splitlines()]
    assert ["shell", "", "not known: no worker has reported yet"] in listed
    assert "shell" in [agent["name"] for agent in json.loads(run("agents", "--json").stdout)]


def test_one_logs_in_once(run_logged_out: Run, token: str, tmp_path: Path) -> None:
    nobody = run_logged_out("list")
    assert nobody.status == ExitStatus.ERROR and "not logged in" in nobody.stderr
    wrong = run_logged_out("login", "http://testserver", stdin="ar_wrong\n")
    assert wrong.status == ExitStatus.ERROR and "401" in wrong.stderr
    done = run_logged_out("login", "http://testserver/", stdin=f"{token}\n")
    assert done.status == 0 and "ada@example.org" in done.stderr
    [file] = (tmp_path / "config").glob("*/*")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "ada@example.org" in run_logged_out("whoami").stdout
    assert run_logged_out("logout").status == 0 and not file.exists()


def test_a_deployment_that_does_not_answer_has_a_status_of_its_own(
    run_logged_out: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.cli.main import main

    monkeypatch.setenv("AGENT_RUNNERS_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AGENT_RUNNERS_TOKEN", "ar_token")
    assert main(["list"]) == ExitStatus.UNREACHABLE
