"""List, create and change sites: the repositories that runners work on."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from app.cli.errors import CommandError, ExitStatus
from app.cli.remote.connection import pass_client
from app.cli.remote.given import given_settings
from app.cli.remote.output import json_option, print_json, print_list, print_rows, read_token
from app.client import Client

_POLL_SECONDS = 0.5
Function = TypeVar("Function", bound=Callable[..., Any])


_SITE_OPTIONS = (
    click.option("--default-branch", help="The branch that runs start from."),
    click.option("--default-agent", help="The agent of runs that name none."),
    click.option("--default-model", help="The model of runs that name none."),
    click.option(
        "--fallback-agent",
        "fallback_agents",
        metavar="AGENT[:MODEL]",
        multiple=True,
        help="An agent that takes over where the model of the one before takes no calls. Repeatable.",
    ),
    click.option(
        "--on-quota",
        type=click.Choice(["fail", "wait"]),
        help="What to do when the quota of a session's model is used up. Default: fail.",
    ),
    click.option("--setup-command", help="What prepares a checkout, such as `npm ci`."),
    click.option(
        "--sparse-path",
        "sparse_paths",
        metavar="FOLDER",
        multiple=True,
        help="A folder to check out; all others are left out. Repeatable. Default: everything.",
    ),
    click.option(
        "--partial-clone/--no-partial-clone",
        default=None,
        help="Whether workers fetch only the contents of files that sessions need.",
    ),
    click.option("--egress-host", "egress_hosts", multiple=True, help="A host that agents may reach. Repeatable."),
    click.option(
        "--mcp-servers",
        type=click.File(),
        help="A JSON file with all MCP servers of the site. `-` reads standard input.",
    ),
    click.option(
        "--forge",
        help="github, gitlab, gitea (Forgejo, too), azure_devops, bitbucket, bitbucket_data_center or none. Default: by the address.",
    ),
    click.option("--forge-api-url", help="The address of your own server's API."),
    click.option(
        "--sensitive-files",
        type=click.Choice(["warn", "refuse"]),
        help="What to do with changes of CI workflows, Git hooks, CODEOWNERS and .gitmodules.",
    ),
    click.option("--pr-branch-pattern", help="The branches of pull requests: agent/{{ slug }}-{{ id }}."),
    click.option("--pr-title-template", help="The titles of pull requests: {{ title }}."),
    click.option("--pr-body-template", help="Their descriptions: {{ sessions }}."),
    click.option("--pr-label", "pr_labels", multiple=True, help="A label of new pull requests. Repeatable."),
    click.option("--pr-reviewer", "pr_reviewers", multiple=True, help="A reviewer, or organization/team. Repeatable."),
    click.option("--pr-assignee", "pr_assignees", multiple=True, help="A user to assign them to. Repeatable."),
    click.option(
        "--pr-status/--no-pr-status",
        default=None,
        help="Whether commits of pull requests get a status that links to the session.",
    ),
    click.option(
        "--with-token/--without-token",
        default=None,
        help="Ask for the forge's token, or read it from standard input. Or remove it.",
    ),
)


def _site_options(function: Function) -> Function:
    for option in reversed(_SITE_OPTIONS):
        function = option(function)
    return function


@click.group()
def sites() -> None:
    """List, create and change sites: the repositories that runners work on."""


@sites.command("list")
@json_option
@pass_client
def list_sites(client: Client, as_json: bool) -> None:
    """List all sites.

    \b
    agent-runners sites list
    """
    columns = {"name": "name", "repository": "repo_url", "branch": "default_branch", "id": "id"}
    print_list(client.sites(), columns, as_json=as_json)


@sites.command()
@click.argument("repo_url")
@click.option("--name", help="Default: the name of the repository.")
@_site_options
@json_option
@pass_client
def add(client: Client, repo_url: str, name: str | None, as_json: bool, **fields: Any) -> None:
    """Create a site for the repository at REPO_URL.

    \b
    agent-runners sites add https://github.com/example/shop.git --with-token
    """
    named = {} if name is None else {"name": name}
    site = client.create_site(repo_url=repo_url, **named, **_given(fields))
    print_json(site) if as_json else print(site["id"])


@sites.command("set")
@click.argument("site")
@_site_options
@json_option
@pass_client
def change(client: Client, site: str, as_json: bool, **fields: Any) -> None:
    """Change the given settings of SITE, a name or an id. An empty value removes what was set.

    \b
    agent-runners sites set shop --setup-command "make deps"
    agent-runners sites set shop --with-token < token.txt
    agent-runners sites set shop --default-agent claude --fallback-agent codex --fallback-agent gemini
    agent-runners sites set shop --sparse-path services/shop --sparse-path libs --partial-clone
    agent-runners sites set shop --fallback-agent "" --setup-command ""
    """
    changed = client.update_site(find_site(client, site)["id"], **_given(fields))
    if as_json:
        print_json(changed)


@sites.command()
@click.argument("site")
@click.option("--agent", help="Default: that of the site.")
@click.option("--branch", help="Default: that of the site.")
@click.option("--run-setup", is_flag=True, help="Run the setup command, too, in a session.")
@json_option
@pass_client
def check(client: Client, site: str, run_setup: bool, as_json: bool, **fields: Any) -> int:
    """Check what a session of SITE would need: token, repository, right to push, agent, key and sandbox.

    Nothing is pushed, and no model is used. The exit status is 1 if a check failed.

    \b
    agent-runners sites check shop --agent codex
    """
    site_id = find_site(client, site)["id"]
    given = {name: value for name, value in fields.items() if value is not None}
    found = client.start_preflight(site_id, **({"run_setup": True} if run_setup else {}), **given)
    while found["state"] == "pending":
        time.sleep(_POLL_SECONDS)
        found = client.get_preflight(site_id, found["id"])
    if as_json:
        print_json(found)
    else:
        rows = [(each["status"], each["name"], each["code"] or "", each["message"]) for each in found["checks"]]
        print_rows(("", "check", "code", "what was found"), rows)
    return ExitStatus.DONE if found["ok"] else ExitStatus.ERROR


def find_site(client: Client, site: str) -> dict[str, Any]:
    """The site with this name or id. Raises CommandError if there is none, or more than one."""
    matching = [each for each in client.sites() if site in (each["id"], each["name"])]
    if len(matching) != 1:
        raise CommandError(
            f"{len(matching)} sites are named {site!r}. `agent-runners sites list` shows them with their ids"
        )
    return matching[0]


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """The settings that were given. The token is never an argument, which every user of the machine could read."""
    given = given_settings(fields)
    if given.get("egress_hosts", ()) is None:
        given["egress_hosts"] = []
    if file := given.pop("mcp_servers", None):
        try:
            given["mcp_servers"] = json.load(file)
        except ValueError as error:
            raise CommandError(f"{file.name} is not JSON: {error}") from None
    with_token = given.pop("with_token", None)
    if with_token is not None:
        given["access_token"] = read_token() if with_token else None
    return given
