"""Start a run, say something further, and come back to it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from app.cli.errors import CommandError
from app.cli.remote import checkout
from app.cli.remote.checkout import Checkout
from app.cli.remote.connection import connect, find_login, pass_client
from app.cli.remote.diff import apply_result_to, apply_to
from app.cli.remote.local import local_login
from app.cli.remote.output import json_option, print_json, say
from app.cli.remote.selection import find_runner, runner_argument, short_id
from app.cli.remote.several_agents import run_on_each
from app.cli.remote.watching import print_end, status_of, watch
from app.client import Client

Function = TypeVar("Function", bound=Callable[..., Any])
# What a request may have of it.
_LARGEST_DIFF = 4 * 1024 * 1024
_LIMITS = ("max_duration_seconds", "max_cost_usd", "max_tokens")


def session_options(function: Function) -> Function:
    """Adds the options of a new session, but the one for its agent."""
    for option in reversed(
        (
            click.option("--model", help="The agent's model."),
            click.option("--effort", help="How much the model thinks, in the agent's own words."),
            click.option("--ask", is_flag=True, help="Ask a question: no change is kept."),
            click.option("--plan", is_flag=True, help="Ask for a plan: no change is kept. `say` has it carried out."),
            click.option("--file", "files", type=Path, multiple=True, help="Attach this file. Repeat it for several."),
            click.option("--max-duration-seconds", type=int, help="Stop the agent after this time."),
            click.option("--max-cost-usd", type=float, help="Stop the agent at this cost."),
            click.option("--max-tokens", type=int, help="Stop the agent after this many tokens."),
            click.option("--no-questions", is_flag=True, help="Forbid questions: the agent decides everything itself."),
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
@click.option(
    "--with-changes/--without-changes",
    default=None,
    help="Whether the run starts with what you have not pushed, new files too. Asked for on a terminal.",
)
@click.option("--local", is_flag=True, help="Use the deployment on this machine, and start it if none is running.")
@click.option(
    "--agent",
    "agents",
    multiple=True,
    metavar="AGENT[:MODEL]",
    help="The agent; by default the site's. Repeat it to give the prompt to several, and compare them.",
)
@session_options
def run(local: bool, **options: Any) -> int:
    """Give PROMPT to an agent, and follow it to its end. `-` reads the prompt from standard input.

    In a checkout, its site is found by the remote, or created. Exits with 0 if the session is DONE, 1 if it failed, 2 if
    it was stopped and 3 if the agent asks something. Ctrl-C leaves it running.

    \b
    agent-runners run "Add a health endpoint"
    agent-runners run "Fix the failing test" --agent claude --apply
    agent-runners run "Fix the failing test" --agent claude --agent codex --agent gemini
    agent-runners run "Add a health endpoint" --local
    agent-runners run - --site shop --wait --json < prompt.txt
    """
    with connect(local_login() if local else find_login()) as client:
        return _run(client, **options)


def _run(
    client: Client,
    prompt: str,
    repo: Path,
    site: str | None,
    branch: str | None,
    sha: str | None,
    title: str | None,
    with_changes: bool | None,
    agents: Sequence[str],
    **options: Any,
) -> int:
    if len(agents) > 1 and options["apply"]:
        raise click.UsageError(
            "--apply is for one agent. Apply the best change later: agent-runners diff RUNNER --apply"
        )
    found = checkout.find(repo)
    chosen = _site(client, site, found)
    fields = {"branch": branch, "sha": sha, "title": title}
    taken = False
    if found and site is None:
        fields["branch"] = branch or found.branch
        taken = _takes_changes(found, with_changes)
    if taken and found:
        fields |= _changes(found, sha)
    text = _prompt(prompt)

    def start(agent: str | None) -> dict[str, Any]:
        wanted = {**fields, **_session_fields(client, agent, options)}
        given = {name: value for name, value in wanted.items() if value is not None}
        return client.create_runner(chosen["id"], text, **given)

    if len(agents) > 1:
        return run_on_each(client, agents, start, options, chosen["name"])
    runner = start(agents[0] if agents else None)
    say(f"Runner {short_id(runner['id'])} on {chosen['name']}")
    return _go_on(client, runner, runner["latest_session_id"], found, options, with_changes=taken)


@click.command(name="say")
@click.argument("prompt")
@runner_argument
@click.option("--agent", metavar="AGENT[:MODEL]", help="The agent; by default the last one.")
@session_options
@pass_client
def follow_up(client: Client, prompt: str, given: str | None, agent: str | None, **options: Any) -> int:
    """Go on with a runner: PROMPT builds on what it has changed, or answers what the agent asks. `-` reads the prompt from
    standard input.

    \b
    agent-runners say "Now in French too"
    agent-runners say "Why did you rename it?" 3f9a01bc --ask
    agent-runners say "Carry out the plan."
    """
    runner = find_runner(client, given)
    fields = {name: value for name, value in _session_fields(client, agent, options).items() if value is not None}
    session = client.follow_up(runner["id"], _prompt(prompt), **fields)
    return _go_on(client, runner, session["id"], checkout.find(Path()), options)


@click.command()
@runner_argument
@click.option("--wait", is_flag=True, help="Wait for the end without showing steps.")
@json_option
@pass_client
def follow(client: Client, given: str | None, wait: bool, as_json: bool) -> int:
    """Show the steps of a runner's latest session from the first on, as they happen. Exits as `run` does.

    \b
    agent-runners follow
    agent-runners follow 3f9a01bc
    """
    runner = find_runner(client, given)
    session = watch(client, runner["id"], runner["latest_session_id"], steps=not (wait or as_json))
    _print(session, as_json)
    return status_of(session)


def _go_on(
    client: Client,
    runner: dict[str, Any],
    session_id: str,
    found: Checkout | None,
    options: dict[str, Any],
    *,
    with_changes: bool = False,
) -> int:
    """Wait for the new session, unless the caller does not want to. Returns the exit status.

    `with_changes` means that the session started with the changes of the checkout.
    """
    if options["apply"] and found is None:
        say("--apply has no effect: this folder is not in a checkout.")
    if options["detach"]:
        print_json(client.get_session(runner["id"], session_id)) if options["as_json"] else print(runner["id"])
        return 0
    quiet = options["wait"] or options["as_json"]
    session = watch(client, runner["id"], session_id, steps=not quiet)
    _print(session, options["as_json"])
    if options["apply"] and found and with_changes and session["has_result_diff"]:
        apply_result_to(found.root, client, runner["id"], session_id)
    elif options["apply"] and found and not with_changes and session["has_cumulative_diff"]:
        apply_to(found.root, client, runner["id"])
    return status_of(session)


def _print(session: dict[str, Any], as_json: bool) -> None:
    print_json(session) if as_json else print_end(session)


def _takes_changes(found: Checkout, wanted: bool | None) -> bool:
    """Whether the run starts with the changes of the checkout. They never go along without the user's consent."""
    if wanted is None and found.has_changes:
        if sys.stdin.isatty():
            return click.confirm("Start with your changes that are not pushed?", err=True)
        say("Your changes that are not pushed are not part of the run. --with-changes takes them along.")
    return bool(wanted)


def _changes(found: Checkout, sha: str | None) -> dict[str, Any]:
    """The fields of a runner that starts with the changes of the checkout."""
    if sha is not None:
        raise click.UsageError("--with-changes starts from a commit of its own; leave --sha out.")
    base, diff = checkout.local_changes(found.root)
    if len(diff) > _LARGEST_DIFF:
        raise CommandError(f"your changes are {len(diff)} bytes long, and may be {_LARGEST_DIFF}. Push them instead")
    try:
        return {"sha": base, "result_diff": diff.decode()}
    except UnicodeDecodeError as error:
        header = diff.rfind(b"diff --git ", 0, error.start)
        name = diff[header : diff.find(b"\n", header)].decode(errors="replace").removeprefix("diff --git ")
        raise CommandError(f"{name} is text that is not UTF-8, which cannot be sent. Push it instead") from None


def _prompt(text: str) -> str:
    return sys.stdin.read() if text == "-" else text


def _mode(options: dict[str, Any]) -> str | None:
    if options["ask"] and options["plan"]:
        raise click.UsageError("--ask and --plan exclude each other.")
    return "ask" if options["ask"] else "plan" if options["plan"] else None


def _session_fields(client: Client, agent: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """The fields of a new session. `agent` may have a model of its own: `agent:model`."""
    name, _, model = (agent or "").partition(":")
    limits = {name: options[name] for name in _LIMITS if options[name] is not None}
    files: Sequence[Path] = options["files"]
    return {
        "agent": name or None,
        "model": model or options["model"],
        "effort": options["effort"],
        "mode": _mode(options),
        "limits": limits or None,
        "may_ask": False if options["no_questions"] else None,
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
