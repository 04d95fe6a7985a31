"""Decide what becomes of a runner: stop, revert, publish, archive."""

from __future__ import annotations

import time
from typing import Any

import click

from app.cli.errors import ExitStatus
from app.cli.remote.connection import pass_client
from app.cli.remote.output import json_option, print_json, say
from app.cli.remote.selection import find_runner, runner_argument
from app.client import Client

_POLL_SECONDS = 0.5
_ENDED = ("DONE", "ERROR", "CANCELLED")


@click.command()
@runner_argument
@pass_client
def stop(client: Client, given: str | None) -> None:
    """Stop the session in progress, and wait until it has ended. Its work so far is kept."""
    runner = find_runner(client, given)
    client.stop(runner["id"])
    session = client.get_session(runner["id"], runner["latest_session_id"])
    while session["state"] not in _ENDED:
        time.sleep(_POLL_SECONDS)
        session = client.get_session(runner["id"], session["id"])
    say(f"Stopped. `agent-runners revert --session {session['id']}` adopts its work, if there is any.")


@click.command()
@runner_argument
@click.option("--session", "session_id", help="The session whose work becomes the runner's.")
@click.option("--base", is_flag=True, help="Back to the base: without any change.")
@json_option
@pass_client
def revert(client: Client, given: str | None, session_id: str | None, base: bool, as_json: bool) -> None:
    """Go back to the work of an earlier session, or on to that of a discarded, failed or stopped one."""
    if base == (session_id is not None):
        raise click.UsageError("Give either --session ID or --base.")
    runner = client.revert(find_runner(client, given)["id"], session_id)
    print_json(runner) if as_json else say("The next session and every publication start from there.")


@click.command("pr")
@runner_argument
@click.option("--title", help="The title. Default: that of the runner.")
@click.option("--body", help="The description. Default: what was asked and answered.")
@click.option("--draft/--ready", default=None, help="Whether it is a draft.")
@click.option("--branch", help="The name of its branch.")
@json_option
@pass_client
def pull_request(client: Client, given: str | None, as_json: bool, **fields: Any) -> int:
    """Open a pull request with the runner's diff, or update the one that is open. Prints its URL."""
    runner = client.create_pull_request(find_runner(client, given)["id"], **_given(fields))
    while runner["pr_is_being_created"]:
        time.sleep(_POLL_SECONDS)
        runner = client.get_runner(runner["id"])
    return _published(runner, runner["pr_url"], runner["pr_error"], as_json=as_json)


@click.command()
@click.argument("target_branch", metavar="BRANCH")
@runner_argument
@click.option("--message", help="The message of the squashed, merge or last commit.")
@click.option("--squash", is_flag=True, help="One commit in place of one for each session.")
@json_option
@pass_client
def commit(
    client: Client, target_branch: str, given: str | None, message: str | None, squash: bool, as_json: bool
) -> int:
    """Commit the runner's diff to BRANCH of the repository. Prints the commit."""
    runner = client.commit(
        find_runner(client, given)["id"], target_branch, squash=squash, **_given({"message": message})
    )
    while runner["merge_commit_is_being_created"]:
        time.sleep(_POLL_SECONDS)
        runner = client.get_runner(runner["id"])
    return _published(runner, runner["merge_commit_sha"], runner["merge_commit_error"], as_json=as_json)


@click.command()
@runner_argument
@click.option("--undo", is_flag=True, help="Unarchive it.")
@pass_client
def archive(client: Client, given: str | None, undo: bool) -> None:
    """Archive a runner: it is hidden from lists and takes no further prompts. Nothing is deleted."""
    runner = find_runner(client, given)
    (client.unarchive if undo else client.archive)(runner["id"])
    say("Unarchived." if undo else "Archived.")


def _published(runner: dict[str, Any], what: str | None, error: str | None, *, as_json: bool) -> int:
    if as_json:
        print_json(runner)
    elif error:
        say(f"Not published: {error}")
    else:
        print(what)
    return ExitStatus.ERROR if error else ExitStatus.DONE


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
