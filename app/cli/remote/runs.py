"""List runners, and show one with its sessions and steps."""

from __future__ import annotations

import datetime
from typing import Any

import click

from app.cli.remote.connection import pass_client
from app.cli.remote.output import Columns, json_option, print_fields, print_json, print_list, print_rows, with_successor
from app.cli.remote.selection import find_runner, runner_argument, short_id
from app.cli.view import View
from app.client import Client

_STATES = ("NEW", "RUNNING", "ERROR", "DONE", "ARCHIVED", "live")
_PR_STATES = ("open", "closed", "merged", "draft")


@click.command("list")
@click.option(
    "--state",
    type=click.Choice(_STATES, case_sensitive=False),
    help="Only runners in this state; live: NEW or RUNNING.",
)
@click.option("--search", "q", metavar="TEXT", help="Only runners whose title or prompts contain this.")
@click.option("--title", help="Only runners whose title contains this.")
@click.option("--agent", help="Only runners that show this agent.")
@click.option("--parent", metavar="RUNNER", help="Only runners that started from this one.")
@click.option(
    "--pr-state",
    type=click.Choice(_PR_STATES, case_sensitive=False),
    help="Only runners whose pull request is in this state.",
)
@click.option("--since", metavar="TIME", help="Only runners updated at this time (2026-01-31T12:00:00Z) or later.")
@click.option("--mine", is_flag=True, help="Only your own.")
@click.option("--number", type=click.IntRange(1, 100), default=20, show_default=True, help="How many, newest first.")
@json_option
@pass_client
def list_runners(
    client: Client, parent: str | None, mine: bool, number: int, as_json: bool, **chosen: str | None
) -> None:
    """List runners, newest first. Archived ones only with --state ARCHIVED.

    \b
    agent-runners list --mine
    agent-runners list --state ERROR --json
    agent-runners list --search "health endpoint" --state live
    """
    user = client.me()["id"] if mine else None
    parent_id = find_runner(client, parent)["id"] if parent else None
    filters = {**chosen, "parent_agent_runner_id": parent_id, "user_id": user, "per_page": number}
    runners = client.runners(**{name: value for name, value in filters.items() if value is not None})
    columns: Columns = {
        "runner": lambda each: short_id(each["id"]),
        "state": _state,
        "site": "site_name",
        "agent": "latest_session_agent",
        "last": lambda each: _age(each["last_session_created_at"]),
        "pr": "pr_state",
        "title": "title",
    }
    print_list(runners, columns, as_json=as_json)


@click.command()
@runner_argument
@json_option
@pass_client
def show(client: Client, given: str | None, as_json: bool) -> None:
    """Show a runner: its state, its sessions, what it cost, and its result.

    \b
    agent-runners show
    agent-runners show 3f9a01bc --json
    """
    runner = find_runner(client, given)
    sessions = client.sessions(runner["id"], include_discarded="true")
    if as_json:
        print_json({**runner, "sessions": sessions})
        return
    usage = runner["usage"]
    print_fields(
        {
            "runner": runner["id"],
            "title": runner["title"],
            "state": _state(runner),
            "site": runner["site_name"],
            "branch": runner["branch"],
            "base": runner["base_sha"],
            "user": runner["user"]["email"],
            "cost": None if usage["cost_usd"] is None else f"{usage['cost_usd']:.2f} USD",
            "asks": "\n".join(each["question"] for each in runner["questions"] or ()) or None,
            "pull request": runner["pr_url"],
            "not published": runner["pr_error"] or runner["merge_commit_error"],
        }
    )
    print()
    rows = []
    for each in sessions:
        failed = f"{each['failure']['code']}: {each['failure']['message']}" if each["failure"] else None
        state = f"{each['state']} (discarded)" if each["is_discarded"] else each["state"]
        agents = with_successor(each["agent_config"]["agent"], each)
        rows.append((short_id(each["id"]), state, agents, failed or each["title"] or each["prompt"]))
    print_rows(("session", "state", "agent", "prompt"), rows)


@click.command()
@runner_argument
@click.option("--session", "session_id", help="The id of a session. Default: the latest.")
@json_option
@pass_client
def steps(client: Client, given: str | None, session_id: str | None, as_json: bool) -> None:
    """Show the steps of a session.

    \b
    agent-runners steps
    agent-runners steps 3f9a01bc --json
    """
    runner = find_runner(client, given)
    session = client.get_session(runner["id"], session_id or runner["latest_session_id"])
    if as_json:
        print_json(session["steps"])
        return
    view = View()
    for each in session["steps"]:
        view.step(each["title"], each["message"] or "")


def _state(runner: dict[str, Any]) -> str:
    """The state, with why it waits, and until when, if that is known."""
    waiting = runner["waiting"]
    if runner["awaiting_input"]:
        return f"{runner['state']} (asks)"
    if not waiting:
        return str(runner["state"])
    until = f" until {waiting['until'][:16]}Z" if waiting["until"] else ""
    return f"{runner['state']} ({waiting['reason']}{until})"


def _age(text: str) -> str:
    """How long ago a time was, in its largest unit."""
    then = datetime.datetime.fromisoformat(text)
    seconds = max(0, int((datetime.datetime.now(datetime.UTC) - then).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
