"""Decide what to do with a runner: stop, revert, rebase, publish, archive, purge."""

from __future__ import annotations

import time
from typing import Any

import click

from app.cli.errors import ExitStatus
from app.cli.remote.connection import pass_client
from app.cli.remote.output import json_option, print_json, say
from app.cli.remote.selection import find_runner, runner_argument, short_id
from app.client import Client
from app.escaping import readable

_POLL_SECONDS = 0.5
_ENDED = ("DONE", "ERROR", "CANCELLED")


@click.command()
@runner_argument
@json_option
@pass_client
def stop(client: Client, given: str | None, as_json: bool) -> None:
    """Stop the session in progress, and wait until it has ended. Its work so far is kept.

    \b
    agent-runners stop
    agent-runners stop 3f9a01bc
    """
    runner = find_runner(client, given)
    client.stop(runner["id"])
    session = _ended(client, runner["id"], runner["latest_session_id"])
    if as_json:
        print_json(session)
    else:
        say(f"Stopped. `agent-runners revert --session {session['id']}` adopts its work, if there is any.")


@click.command()
@runner_argument
@click.option("--session", "session_id", help="The session whose work becomes the runner's.")
@click.option("--base", is_flag=True, help="Back to the base: without any change.")
@json_option
@pass_client
def revert(client: Client, given: str | None, session_id: str | None, base: bool, as_json: bool) -> None:
    """Go back to the work of an earlier session, or on to that of a discarded, failed or stopped one.

    \b
    agent-runners revert --session 0197c1de-0000-7000-8000-000000000004
    agent-runners revert 3f9a01bc --base
    """
    if base == (session_id is not None):
        raise click.UsageError("Give either --session ID or --base.")
    runner = client.revert(find_runner(client, given)["id"], session_id)
    print_json(runner) if as_json else say("The next session and every publication start from there.")


@click.command()
@runner_argument
@click.option("--check", is_flag=True, help="Only say how far the branch has moved, and what conflicts.")
@click.option("--resolve", type=click.Choice(["agent"]), help="Who resolves conflicts. Default: they fail the rebase.")
@click.option("--prompt", help="How the agent is to resolve them.")
@json_option
@pass_client
def rebase(client: Client, given: str | None, check: bool, as_json: bool, **fields: Any) -> int:
    """Reapply a runner's diff on the tip of its branch. `agent-runners pr` then updates its pull request.

    \b
    agent-runners rebase
    agent-runners rebase 3f9a01bc --check
    agent-runners rebase --resolve agent
    """
    runner = find_runner(client, given)
    if check:
        return _compared(client, runner["id"], as_json=as_json)
    session = _ended(client, runner["id"], client.rebase_runner(runner["id"], **_given(fields))["id"])
    if as_json:
        print_json(session)
    else:
        say(session["failure"]["message"] if session["failure"] else session["result"] or "It was stopped.")
    return ExitStatus.DONE if session["state"] == "DONE" else ExitStatus.ERROR


def _compared(client: Client, runner_id: str, *, as_json: bool) -> int:
    """Print how far the branch has moved since the base of the runner."""
    runner = client.refresh_runner(runner_id)
    while runner["is_being_refreshed"]:
        time.sleep(_POLL_SECONDS)
        runner = client.get_runner(runner_id)
    if as_json:
        print_json(runner)
    elif runner["refresh_error"]:
        say(f"Not compared: {runner['refresh_error']}")
    else:
        conflicts = ", ".join(runner["conflicts"] or []) or "none"
        say(f"{runner['branch']} is {runner['behind_by']} commits ahead of the base. Conflicts: {conflicts}.")
    return ExitStatus.ERROR if runner["refresh_error"] else ExitStatus.DONE


def _ended(client: Client, runner_id: str, session_id: str) -> dict[str, Any]:
    """The session, when it has ended."""
    session = client.get_session(runner_id, session_id)
    while session["state"] not in _ENDED:
        time.sleep(_POLL_SECONDS)
        session = client.get_session(runner_id, session_id)
    return session


@click.command("pr")
@runner_argument
@click.option("--title", help="The title. Default: that of the runner.")
@click.option("--body", help="The description. Default: what was asked and answered.")
@click.option("--draft/--ready", default=None, help="Whether it is a draft.")
@click.option("--branch", help="The name of its branch.")
@click.option("--label", "labels", multiple=True, help="A label to add. Repeatable. Default: those of the site.")
@click.option("--reviewer", "reviewers", multiple=True, help="A reviewer, or organization/team. Repeatable.")
@click.option("--assignee", "assignees", multiple=True, help="A user to assign. Repeatable.")
@json_option
@pass_client
def pull_request(client: Client, given: str | None, as_json: bool, **fields: Any) -> int:
    """Open a pull request with the runner's diff, or update the one that is open. Prints its URL.

    \b
    agent-runners pr
    agent-runners pr 3f9a01bc --title "Add a health endpoint" --draft
    """
    runner = find_runner(client, given)
    _warn(client, runner)
    runner = client.create_pull_request(runner["id"], **_given(fields))
    while runner["pr_is_being_created"]:
        time.sleep(_POLL_SECONDS)
        runner = client.get_runner(runner["id"])
    for warning in runner["pr_warnings"] or ():
        say(warning)
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
    """Commit the runner's diff to BRANCH of the repository. Prints the commit.

    \b
    agent-runners commit health
    agent-runners commit health 3f9a01bc --squash --message "Add a health endpoint"
    """
    runner = find_runner(client, given)
    _warn(client, runner)
    runner = client.commit(runner["id"], target_branch, squash=squash, **_given({"message": message}))
    while runner["merge_commit_is_being_created"]:
        time.sleep(_POLL_SECONDS)
        runner = client.get_runner(runner["id"])
    return _published(runner, runner["merge_commit_sha"], runner["merge_commit_error"], as_json=as_json)


@click.command()
@runner_argument
@click.option("--undo", is_flag=True, help="Unarchive it.")
@json_option
@pass_client
def archive(client: Client, given: str | None, undo: bool, as_json: bool) -> None:
    """Archive a runner: it is hidden from lists and takes no further prompts. Nothing is deleted.

    \b
    agent-runners archive
    agent-runners archive 3f9a01bc --undo
    """
    if undo and given is None:
        raise click.UsageError(
            "Give the id of the runner to unarchive. `agent-runners list --state ARCHIVED` shows them."
        )
    runner = find_runner(client, given)
    changed = (client.unarchive if undo else client.archive)(runner["id"])
    print_json(changed) if as_json else say("Unarchived." if undo else "Archived.")


@click.command()
@click.argument("given", metavar="RUNNER")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_client
def purge(client: Client, given: str, yes: bool, as_json: bool) -> None:
    """Delete a runner for good, with its sessions, diffs and attached files. Needs a token of an administrator.

    \b
    agent-runners purge 3f9a01bc
    agent-runners purge 0197c1de-0000-7000-8000-000000000004 --yes
    """
    runner = find_runner(client, given)
    if not yes:
        question = f"Delete {short_id(runner['id'])}, {runner['title']}, with all that it has? This cannot be undone."
        click.confirm(readable(question), abort=True, err=True)
    client.purge(runner["id"])
    print_json({"id": runner["id"]}) if as_json else say("Purged.")


def _warn(client: Client, runner: dict[str, Any]) -> None:
    """Name the files that a reviewer should not miss."""
    if runner["has_result_diff"]:
        for file in client.diff_files(runner["id"], sensitive="true"):
            say(f"Look closely: {file['path']} ({file['sensitive']})")


def _published(runner: dict[str, Any], what: str | None, error: str | None, *, as_json: bool) -> int:
    if as_json:
        print_json(runner)
    elif error:
        say(f"Not published: {error}")
    else:
        print(what)
    return ExitStatus.ERROR if error else ExitStatus.DONE


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that were given. Options that may be repeated are empty if they were not."""
    return {name: value for name, value in fields.items() if value not in (None, ())}
