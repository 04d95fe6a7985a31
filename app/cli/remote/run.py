"""Start a run, say something further, and come back to what goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from app.cli.errors import CommandError
from app.cli.remote import checkout
from app.cli.remote.changes import apply_to
from app.cli.remote.checkout import Checkout
from app.cli.remote.connection import pass_client
from app.cli.remote.output import json_option, print_json, say
from app.cli.remote.selection import find_runner, runner_argument, short_id
from app.cli.remote.watching import print_end, status_of, watch
from app.client import Client

Function = TypeVar("Function", bound=Callable[..., Any])
_LIMITS = ("max_duration_seconds", "max_cost_usd", "max_tokens")


def session_options(function: Function) -> Function:
    """Adds the options of a new session."""
    for option in reversed(
        (
            click.option("--agent", help="The agent; by default the last one, or the site's."),
            click.option("--model", help="The agent's model."),
            click.option("--effort", help="How much the model thinks, in the agent's own words."),
            click.option("--ask", is_flag=True, help="Ask a question: no change is kept."),
            click.option("--file", "files", type=Path, multiple=True, help="Attach this file. Repeat it for several."),
            click.option("--max-duration-seconds", type=int, help="Stop the agent after this time."),
            click.option("--max-cost-usd", type=float, help="Stop the agent at this cost."),
            click.option("--max-tokens", type=int, help="Stop the agent after this many tokens."),
            click.option("--wait", is_flag=True, help="Wait for the end without showing steps."),
            click.option("--detach", is_flag=True, help="Do not wait: print the id of the runner."),
            click.option("--apply", is_flag=True, help="Apply the change to the checkout in the end."),
            json_option,
        )
    ):
        function = option(function)
    return function


@click.command()
@click.argument("prompt")
@click.option("--repo", type=Path, default=Path(), help="The checkout whose site is meant. Default: this folder.")
@click.option("--site", help="The name or id of the site, in place of that of the checkout.")
@click.option("--branch", help="The branch to start from. Default: the one that the checkout follows, or the site's.")
@click.option("--sha", help="The commit to start from.")
@click.option("--title", help="The title of the runner.")
@session_options
@pass_client
def run(
    client: Client,
    prompt: str,
    repo: Path,
    site: str | None,
    branch: str | None,
    sha: str | None,
    title: str | None,
    **options: Any,
) -> int:
    """Give PROMPT to an agent, and follow it to its end. `-` reads the prompt from standard input.

    In a checkout, its site is found by the remote, or created. Exits with 0 if the session is DONE, 1 if it failed and
    2 if it was stopped. Ctrl-C leaves it running.

    \b
    agent-runners run "Add a health endpoint"
    agent-runners run "Fix the failing test" --agent claude --apply
    agent-runners run - --site shop --wait --json < prompt.txt
    """
    found = checkout.find(repo)
    chosen = _site(client, site, found)
    if found and site is None:
        branch = branch or found.branch
        if found.has_changes:
            say("Your changes that are not committed and pushed are not part of the run.")
    fields = {"branch": branch, "sha": sha, "title": title, **_session_fields(client, options)}
    given = {name: value for name, value in fields.items() if value is not None}
    runner = client.create_runner(chosen["id"], _prompt(prompt), **given)
    say(f"Runner {short_id(runner['id'])} on {chosen['name']}")
    return _go_on(client, runner, runner["latest_session_id"], found, options)


@click.command(name="say")
@click.argument("prompt")
@runner_argument
@session_options
@pass_client
def follow_up(client: Client, prompt: str, given: str | None, **options: Any) -> int:
    """Go on with a runner: PROMPT builds on what it has changed. `-` reads the prompt from standard input.

    \b
    agent-runners say "Now in French too"
    agent-runners say "Why did you rename it?" 3f9a01bc --ask
    """
    runner = find_runner(client, given)
    fields = {name: value for name, value in _session_fields(client, options).items() if value is not None}
    session = client.follow_up(runner["id"], _prompt(prompt), **fields)
    return _go_on(client, runner, session["id"], checkout.find(Path()), options)


@click.command()
@runner_argument
@click.option("--wait", is_flag=True, help="Wait for the end without showing steps.")
@json_option
@pass_client
def follow(client: Client, given: str | None, wait: bool, as_json: bool) -> int:
    """Show the latest session of a runner from its first step to its end, as it goes on. Exits as `run` does."""
    runner = find_runner(client, given)
    session = watch(client, runner["id"], runner["latest_session_id"], steps=not (wait or as_json))
    _print(session, as_json)
    return status_of(session)


def _go_on(
    client: Client, runner: dict[str, Any], session_id: str, found: Checkout | None, options: dict[str, Any]
) -> int:
    """Wait for the new session, unless the caller does not want to. Returns the exit status."""
    if options["apply"] and found is None:
        say("--apply has no effect: this folder is not in a checkout.")
    if options["detach"]:
        print_json(client.get_session(runner["id"], session_id)) if options["as_json"] else print(runner["id"])
        return 0
    quiet = options["wait"] or options["as_json"]
    session = watch(client, runner["id"], session_id, steps=not quiet)
    _print(session, options["as_json"])
    if options["apply"] and found and session["has_cumulative_diff"]:
        apply_to(found.root, client, runner["id"])
    return status_of(session)


def _print(session: dict[str, Any], as_json: bool) -> None:
    print_json(session) if as_json else print_end(session)


def _prompt(text: str) -> str:
    return sys.stdin.read() if text == "-" else text


def _session_fields(client: Client, options: dict[str, Any]) -> dict[str, Any]:
    limits = {name: options[name] for name in _LIMITS if options[name] is not None}
    files: Sequence[Path] = options["files"]
    return {
        "agent": options["agent"],
        "model": options["model"],
        "effort": options["effort"],
        "mode": "ask" if options["ask"] else None,
        "limits": limits or None,
        "file_keys": [client.upload(file) for file in files] or None,
    }


def _site(client: Client, named: str | None, found: Checkout | None) -> dict[str, Any]:
    """The site that was named, else that of the checkout, which is created if there is none."""
    sites = client.sites()
    if named is not None:
        matching = [site for site in sites if named in (site["id"], site["name"])]
        if len(matching) == 1:
            return matching[0]
        problem = "several sites are" if matching else "no site is"
        raise CommandError(f"{problem} named {named!r}. `agent-runners sites list` shows them with their ids")
    if found is None:
        raise CommandError("this folder is not in a checkout. Go to one, or name a site: --site NAME")
    if site := checkout.find_site(sites, found.remotes):
        return site
    if not found.remotes:
        raise CommandError(
            f"{found.root} has no remote that a worker could fetch. Add one, or name a site: --site NAME"
        )
    site = client.create_site(checkout.https_url(found.remotes[0]))
    say(
        f"Created the site {site['name']} for {site['repo_url']}. If it needs a token: "
        f"agent-runners sites set {site['name']} --with-token"
    )
    return site
