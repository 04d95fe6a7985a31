"""Give one prompt to several agents, each in a runner of its own, and compare what came of it."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any

from app.cli.errors import ExitStatus
from app.cli.remote.output import print_json, print_rows, say, with_successor
from app.cli.remote.selection import short_id
from app.cli.remote.watching import print_end, status_of, watch
from app.cli.view import View
from app.client import Client, ClientError

# The worst first: one of them decides what the command exits with.
_STATUSES = (ExitStatus.ERROR, ExitStatus.CANCELLED, ExitStatus.ASKS, ExitStatus.DONE)
_COLUMNS = ("agent", "state", "files", "added", "removed", "cost", "seconds", "runner")


def run_on_each(
    client: Client,
    agents: Sequence[str],
    start: Callable[[str], dict[str, Any]],
    options: dict[str, Any],
    site: str,
) -> int:
    """Start a runner for each agent, wait for all of them, and show a line for each. Returns the worst exit status.

    An agent that the deployment refuses does not keep the others from working. Raises ClientError if it refuses all.
    """
    runners, refused = _start(agents, start, site)
    if options["detach"]:
        _print_started(client, [runner for _, runner in runners], as_json=options["as_json"])
        return ExitStatus.ERROR if refused else ExitStatus.DONE
    ended = [
        (agent, watch(client, runner["id"], runner["latest_session_id"], steps=False, name=agent))
        for agent, runner in runners
    ]
    if options["as_json"]:
        print_json([session for _, session in ended])
    else:
        _print(client, ended)
    statuses = {status_of(session) for _, session in ended}
    return ExitStatus.ERROR if refused else next(each for each in _STATUSES if each in statuses)


def _start(
    agents: Sequence[str], start: Callable[[str], dict[str, Any]], site: str
) -> tuple[list[tuple[str, dict[str, Any]]], list[ClientError]]:
    runners: list[tuple[str, dict[str, Any]]] = []
    refused: list[ClientError] = []
    for agent in agents:
        try:
            runner = start(agent)
        except ClientError as error:
            refused.append(error)
            say(f"Not started with {agent}: {error}")
        else:
            # At once: whatever ends the command, one knows which runners there are.
            say(f"Runner {short_id(runner['id'])} on {site}, with {agent}")
            runners.append((agent, runner))
    if not runners:
        raise refused[0]
    return runners, refused


def _print_started(client: Client, runners: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json([client.get_session(runner["id"], runner["latest_session_id"]) for runner in runners])
        return
    for runner in runners:
        print(runner["id"])


def _print(client: Client, ended: Sequence[tuple[str, dict[str, Any]]]) -> None:
    view = View()
    for agent, session in ended:
        view.heading(agent)
        print_end(session)
    view.say()
    print_rows(_COLUMNS, [_row(client, agent, session) for agent, session in ended])


def _row(client: Client, agent: str, session: dict[str, Any]) -> tuple[str, ...]:
    runner = session["agent_runner_id"]
    files = client.diff_files(runner, session["id"]) if session["has_result_diff"] else []
    added, removed = (sum(file[name] or 0 for file in files) for name in ("additions", "deletions"))
    cost = (session["usage"] or {}).get("cost_usd")
    state = session["failure"]["code"] if session["failure"] else session["state"]
    counts = (str(len(files)), f"+{added}", f"-{removed}")
    return (
        with_successor(agent, session),
        state,
        *counts,
        "" if cost is None else f"{cost:.2f} USD",
        _seconds(session),
        short_id(runner),
    )


def _seconds(session: dict[str, Any]) -> str:
    """How long it worked, without the time that it waited for a worker."""
    if not (session["started_at"] and session["done_at"]):
        return ""
    begun, done = (datetime.datetime.fromisoformat(session[name]) for name in ("started_at", "done_at"))
    return f"{(done - begun).total_seconds():.0f}"
