"""Your tokens."""

from __future__ import annotations

import datetime

import click

from app.cli.remote.connection import pass_client
from app.cli.remote.output import json_option, print_json, print_list, say
from app.client import Client


def in_days(days: int) -> str:
    """The time so many days from now, as the API takes it."""
    return (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)).isoformat()


@click.group()
def tokens() -> None:
    """Create, list and revoke tokens of the deployment that you are logged in to."""


@tokens.command("list")
@json_option
@pass_client
def list_tokens(client: Client, as_json: bool) -> None:
    """List your tokens that can be used. An administrator sees those of the whole account.

    \b
    agent-runners tokens list
    """
    found = [each for each in client.tokens() if each["revoked_at"] is None]
    columns = {
        "id": "id",
        "scope": "scope",
        "created": "created_at",
        "expires": "expires_at",
        "last used": "last_used_at",
        "name": "name",
    }
    print_list(found, columns, as_json=as_json)


@tokens.command()
@click.argument("name")
@click.option("--scope", type=click.Choice(["read", "write", "admin"]), default="write", show_default=True)
@click.option("--days", type=click.IntRange(1, 36500), help="After how many days it expires. Default: never.")
@json_option
@pass_client
def create(client: Client, name: str, scope: str, days: int | None, as_json: bool) -> None:
    """Create a token and print it. It is not shown again.

    \b
    agent-runners tokens create ci --scope read --days 90
    """
    made = client.create_token(name=name, scope=scope, expires_at=in_days(days) if days else None)
    if as_json:
        print_json(made)
        return
    print(made["token"])
    until = f" It expires at {made['expires_at']}." if made["expires_at"] else ""
    say(f"This token ({made['id']}) is shown only once.{until}")


@tokens.command()
@click.argument("token")
@json_option
@pass_client
def revoke(client: Client, token: str, as_json: bool) -> None:
    """Revoke the token with the id TOKEN. Whoever uses it gets 401 from then on.

    \b
    agent-runners tokens revoke 0197c1de-0000-7000-8000-000000000009
    """
    client.revoke_token(token)
    if as_json:
        print_json({"id": token})
