"""Your own accounts on forges."""

from __future__ import annotations

import time
from typing import Any

import click

from app.cli.errors import ExitStatus
from app.cli.remote.connection import pass_client
from app.cli.remote.output import json_option, print_json, print_list, read_token, say
from app.client import Client

_POLL_SECONDS = 0.5
FORGES = ("github", "gitlab", "gitea", "azure_devops", "bitbucket", "bitbucket_data_center")


@click.group("forge-accounts")
def forge_accounts() -> None:
    """Connect your own accounts on forges, list and remove them.

    You are then the author of commits of your sessions there, and of pull requests that you ask for.
    """


@forge_accounts.command("list")
@json_option
@pass_client
def list_accounts(client: Client, as_json: bool) -> None:
    """List your accounts on forges.

    \b
    agent-runners forge-accounts list
    """
    columns = {"id": "id", "forge": "forge", "state": "state", "login": "login", "api": "forge_api_url"}
    print_list(client.forge_accounts(), columns, as_json=as_json)


@forge_accounts.command()
@click.argument("forge", type=click.Choice(FORGES))
@click.option("--forge-api-url", help="The API of your own server; on Azure DevOps, your organization.")
@json_option
@pass_client
def add(client: Client, forge: str, forge_api_url: str | None, as_json: bool) -> ExitStatus:
    """Connect your account on FORGE, and wait until the forge has said whose it is.

    A token of yours is asked for, or read from standard input.

    \b
    agent-runners forge-accounts add github < token.txt
    """
    found = client.connect_forge_account(
        forge, read_token(), **({"forge_api_url": forge_api_url} if forge_api_url else {})
    )
    while found["state"] == "PENDING":
        time.sleep(_POLL_SECONDS)
        found = client.get_forge_account(found["id"])
    if as_json:
        print_json(found)
    elif found["state"] == "CONNECTED":
        print(found["id"])
        say(_who(found))
    else:
        say(f"{found['failure']['message']} ({found['failure']['code']})")
    return ExitStatus.DONE if found["state"] == "CONNECTED" else ExitStatus.ERROR


def _who(found: dict[str, Any]) -> str:
    address = f" <{found['email']}>" if found["email"] else ""
    return f"You are {found['login']} there. Commits are by {found['name']}{address}."


@forge_accounts.command()
@click.argument("account")
@json_option
@pass_client
def remove(client: Client, account: str, as_json: bool) -> None:
    """Remove the account with the id ACCOUNT. Its token is deleted here.

    \b
    agent-runners forge-accounts remove 0197c1de-0000-7000-8000-000000000013
    """
    client.remove_forge_account(account)
    if as_json:
        print_json({"id": account})
