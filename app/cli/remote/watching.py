"""Waits for a session and shows how it goes."""

from __future__ import annotations

from typing import Any

from app.cli.errors import ExitStatus
from app.cli.remote.output import say, with_successor
from app.cli.remote.selection import short_id
from app.cli.view import View
from app.client import Client

_STATUS = {"DONE": ExitStatus.DONE, "CANCELLED": ExitStatus.CANCELLED, "ERROR": ExitStatus.ERROR}


def watch(client: Client, runner_id: str, session_id: str, *, steps: bool, name: str = "the session") -> dict[str, Any]:
    """Wait for the end of a session and return it. Shows its steps as they happen, or only that it runs, by its `name`.

    Ctrl-C ends the wait and not the session, and says how to come back.
    """
    view = View(stderr=not steps)
    try:
        events = client.events(runner_id, session_id)
        if steps:
            view.steps(events)
        else:
            for _ in view.wait(events, name):
                pass
    except KeyboardInterrupt:
        short = short_id(runner_id)
        say(f"\nThe session continues. Come back: agent-runners follow {short}. Stop it: agent-runners stop {short}")
        raise
    return client.get_session(runner_id, session_id)


def print_end(session: dict[str, Any]) -> None:
    """What came of a session that has ended, and what to do next."""
    view = View()
    if failure := session["failure"]:
        view.say(f"Failed ({failure['code']}, {failure['stage']}): {failure['message']}")
    if session["result"]:
        view.say(session["result"])
    if session["taken_over_by"]:
        say(f"Worked on by {with_successor(session['agent_config']['agent'], session)}.")
    short = short_id(session["agent_runner_id"])
    if session["questions"]:
        view.say("The agent asks:")
        for each in session["questions"]:
            view.say("\n".join([f"  {each['question']}", *(f"    - {choice}" for choice in each["choices"])]))
        say(f'Answer: agent-runners say "..." {short}')
    if session["has_cumulative_diff"]:
        say(f"See the change: agent-runners diff {short}. Publish it: agent-runners pr {short}")
    elif session["state"] == "DONE" and not session["questions"]:
        say("Nothing was changed.")


def status_of(session: dict[str, Any]) -> int:
    """The exit status for a session that has ended."""
    return ExitStatus.ASKS if session["questions"] else _STATUS[session["state"]]
