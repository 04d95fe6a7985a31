"""List, create and change sites: the repositories that runners work on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from app.cli.errors import CommandError
from app.cli.remote.connection import pass_client
from app.cli.remote.output import json_option, print_json, print_rows, read_token
from app.client import Client

Function = TypeVar("Function", bound=Callable[..., Any])


def _site_options(function: Function) -> Function:
    for option in reversed(
        (
            click.option("--default-branch", help="The branch that runs start from."),
            click.option("--default-agent", help="The agent of runs that name none."),
            click.option("--setup-command", help="What prepares a checkout, such as `npm ci`."),
            click.option(
                "--egress-host", "egress_hosts", multiple=True, help="A host that agents may reach. Repeatable."
            ),
            click.option(
                "--with-token", is_flag=True, help="Ask for the forge's token, or read it from standard input."
            ),
        )
    ):
        function = option(function)
    return function


@click.group()
def sites() -> None:
    """List, create and change sites: the repositories that runners work on."""


@sites.command("list")
@json_option
@pass_client
def list_sites(client: Client, as_json: bool) -> None:
    """List all sites."""
    found = client.sites()
    if as_json:
        print_json(found)
        return
    rows = [(each["name"], each["repo_url"], each["default_branch"] or "", each["id"]) for each in found]
    print_rows(("name", "repository", "branch", "id"), rows)


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
    """Change the given settings of SITE, a name or an id."""
    matching = [each for each in client.sites() if site in (each["id"], each["name"])]
    if len(matching) != 1:
        raise CommandError(
            f"{len(matching)} sites are named {site!r}. `agent-runners sites list` shows them with their ids"
        )
    changed = client.update_site(matching[0]["id"], **_given(fields))
    if as_json:
        print_json(changed)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that were given. The token is never an argument, which every user of the machine could read."""
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items() if value}
    if given.pop("with_token", False):
        given["access_token"] = read_token()
    return given
