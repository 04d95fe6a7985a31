"""Start runs from a terminal or a script, and follow them to their end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.cli.errors import ExitStatus
from app.client import Client
from app.models.states import SessionState
from app.services.execution.outcomes import Failure
from tests.cli.remote.conftest import Run
from tests.workers.repositories import git, write

pytestmark = pytest.mark.same_on_both_databases
CHANGE = "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-a\n+b\n"
FAILED = {"state": SessionState.ERROR, "failure": Failure("agent_auth", "agent", False, "Set a valid key.")}


def newest(client: Client) -> dict[str, Any]:
    return client.runners()[0]


def test_a_run_is_followed_to_its_end_and_its_change_applied(
    run: Run, client: Client, site: dict[str, Any], checkout: Path, when_started: Any
) -> None:
    when_started(diff=CHANGE, result="It is b now.")
    done = run("run", "Make it b", "--apply")
    assert done.status == ExitStatus.DONE, done.stderr
    assert "Looked around" in done.stdout and "in a.txt" in done.stdout and "It is b now." in done.stdout
    assert "DONE" in done.stdout and "Applied to 1 files" in done.stderr
    assert (checkout / "a.txt").read_text() == "b\n"
    runner = newest(client)
    assert (runner["site_id"], runner["branch"], runner["title"]) == (site["id"], "main", "Make it b")


@pytest.mark.parametrize(
    ("ending", "status"), [(FAILED, ExitStatus.ERROR), ({"state": SessionState.CANCELLED}, ExitStatus.CANCELLED)]
)
def test_a_script_learns_the_end_by_the_exit_status_and_the_rest_as_json(
    run: Run, site: dict[str, Any], when_started: Any, ending: dict[str, Any], status: ExitStatus
) -> None:
    when_started(**ending)
    done = run("run", "-", "--site", "shop", "--json", stdin="Make it b")
    assert done.status == status
    session = json.loads(done.stdout)
    assert (session["prompt"], session["state"]) == ("Make it b", ending["state"])


def test_a_failure_is_said_in_words(run: Run, site: dict[str, Any], when_started: Any) -> None:
    when_started(**FAILED)
    done = run("run", "Make it b", "--site", "shop", "--wait")
    assert "Failed (agent_auth, agent): Set a valid key." in done.stdout
    assert "Looked around" not in done.stdout


def test_what_is_chosen_reaches_the_session(run: Run, client: Client, site: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "plan.md").write_text("# Plan\n")
    chosen = ("--agent=codex", "--model=m", "--effort=low", "--ask", "--max-tokens=5", "--branch=topic", "--title=Why")
    done = run("run", "Why?", "--site", site["id"], "--detach", f"--file={tmp_path / 'plan.md'}", *chosen)
    assert done.status == 0, done.stderr
    runner = client.get_runner(done.stdout.strip())
    session = client.get_session(runner["id"], runner["latest_session_id"])
    assert (runner["branch"], runner["title"], session["mode"]) == ("topic", "Why", "ask")
    assert session["agent_config"] == {"agent": "codex", "model": "m", "effort": "low"}
    assert session["limits"]["max_tokens"] == 5
    assert [key.rsplit("/", 1)[1] for key in session["attached_file_keys"]] == ["plan.md"]


def test_a_plan_is_asked_for(run: Run, client: Client, site: dict[str, Any]) -> None:
    done = run("run", "How?", "--site", site["id"], "--detach", "--plan")
    assert client.get_runner(done.stdout.strip())["latest_session_mode"] == "plan"
    both = run("run", "How?", "--site", site["id"], "--plan", "--ask")
    assert "exclude each other" in both.stderr


def test_mcp_servers_are_set_from_a_file(run: Run, client: Client, site: dict[str, Any], tmp_path: Path) -> None:
    servers = tmp_path / "servers.json"
    servers.write_text('[{"name": "docs", "command": ["npx", "docs"]}]')
    assert run("sites", "set", site["id"], "--mcp-servers", str(servers)).status == 0
    assert client.get_site(site["id"])["mcp_servers"][0]["command"] == ["npx", "docs"]
    servers.write_text("[")
    assert "is not JSON" in run("sites", "set", site["id"], "--mcp-servers", str(servers)).stderr


def test_what_the_agent_asks_is_shown_with_a_status_of_its_own(
    run: Run, client: Client, site: dict[str, Any], worker: Any
) -> None:
    done = run("run", "Mend it", "--site", site["id"], "--detach", "--no-questions")
    runner = client.get_runner(done.stdout.strip())
    assert client.get_session(runner["id"], runner["latest_session_id"])["may_ask"] is False
    worker.run(runner["latest_session_id"], questions=[{"question": "Which sign?", "choices": ["plus", "minus"]}])
    done = run("follow", runner["id"], "--wait")
    assert done.status == ExitStatus.ASKS and "Which sign?" in done.stdout and "- minus" in done.stdout
    assert "agent-runners say" in done.stderr and "Nothing was changed" not in done.stderr
    assert "DONE (asks)" in run("list").stdout and "Which sign?" in run("show", runner["id"]).stdout


def test_a_checkout_without_a_site_gets_one(run: Run, client: Client, checkout: Path) -> None:
    write(checkout, {"new.txt": "new\n"})
    done = run("run", "Make it b", "--detach")
    assert done.status == 0
    assert [site["repo_url"] for site in client.sites()] == ["https://github.com/example/shop.git"]
    assert "Created the site shop" in done.stderr and "--with-changes takes them along" in done.stderr


def test_a_run_can_start_with_what_was_not_pushed(
    run: Run, client: Client, site: dict[str, Any], checkout: Path, when_started: Any, worker: Any
) -> None:
    git(checkout, "branch", "--set-upstream-to", "origin/main")
    pushed = git(checkout, "rev-parse", "HEAD").strip()
    write(checkout, {"a.txt": "mine\n"})
    git(checkout, "commit", "--quiet", "--all", "--message", "Mine")
    write(checkout, {"new.txt": "new\n", "ignored.txt": "x", ".gitignore": "ignored.txt\n"})
    when_started(diff=CHANGE.replace("-a", "-mine"))
    done = run("run", "Make it b", "--with-changes", "--apply")
    assert done.status == 0, done.stderr
    runner = newest(client)
    assert runner["sha"] == pushed
    assert git(checkout, "diff", "--cached", "--name-only") == "", "the index is as it was"
    assert (checkout / "a.txt").read_text() == "b\n" and (checkout / "new.txt").read_text() == "new\n"


def test_changes_that_cannot_go_along_are_explained(run: Run, site: dict[str, Any], checkout: Path) -> None:
    git(checkout, "branch", "--unset-upstream")
    write(checkout, {"a.txt": "mine\n"})
    assert "git push --set-upstream" in run("run", "Make it b", "--with-changes").stderr
    git(checkout, "branch", "--set-upstream-to", "origin/main")
    assert run("run", "x", "--with-changes", "--sha", "0" * 40).status == ExitStatus.USAGE
    (checkout / "latin.txt").write_bytes("gr\xfc\xdfe\n".encode("latin-1"))
    assert "latin.txt" in run("run", "Make it b", "--with-changes").stderr


def test_a_follow_up_goes_to_the_newest_runner_of_the_checkout(
    run: Run, client: Client, site: dict[str, Any], checkout: Path, worker: Any
) -> None:
    runner = client.create_runner(site["id"], "Make it b", agent="codex")
    worker.run(runner["latest_session_id"], CHANGE)
    other = client.create_site("https://github.com/example/other.git")
    client.create_runner(other["id"], "Elsewhere", agent="codex")
    done = run("say", "Now c", "--detach")
    assert done.stdout.strip() == runner["id"] and "Make it b" in done.stderr
    assert [session["prompt"] for session in client.sessions(runner["id"])] == ["Make it b", "Now c"]


def test_one_comes_back_to_a_run_by_the_end_of_its_id(
    run: Run, client: Client, site: dict[str, Any], worker: Any
) -> None:
    runner = client.create_runner(site["id"], "Make it b", agent="codex")
    claim = worker.claim(runner["latest_session_id"])
    worker.step(claim, "Looked around")
    worker.finish(claim, diff=CHANGE)
    done = run("follow", runner["id"][-8:])
    assert done.status == 0 and "Looked around" in done.stdout


def test_what_does_not_exist_is_named_with_what_to_do(run: Run, site: dict[str, Any]) -> None:
    for arguments, expected in (
        (("run", "x"), "not in a checkout"),
        (("run", "x", "--site", "shoe"), "no site is named 'shoe'"),
        (("follow",), "you have no runner here yet"),
        (("follow", "ffffffff"), "none of the 100 newest runners ends in 'ffffffff'"),
        (("show", "00000000-0000-7000-8000-000000000000"), "lists them. [agent_runner_not_found]"),
    ):
        done = run(*arguments)
        assert done.status == ExitStatus.ERROR and expected in done.stderr, done.stderr


def test_changes_of_ones_own_are_neither_overwritten_nor_lost(
    run: Run, client: Client, site: dict[str, Any], checkout: Path, worker: Any
) -> None:
    runner = client.create_runner(site["id"], "Make it b", agent="codex")
    worker.run(runner["latest_session_id"], CHANGE)
    write(checkout, {"a.txt": "mine\n"})
    refused = run("diff", "--apply")
    assert refused.status == ExitStatus.ERROR and "you have changes in a.txt" in refused.stderr
    git(checkout, "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "--quiet", "-am", "Mine")
    conflict = run("diff", "--apply")
    assert conflict.status == ExitStatus.ERROR and "does not apply" in conflict.stderr
    assert (checkout / "a.txt").read_text() == "mine\n" and git(checkout, "status", "--porcelain") == ""
