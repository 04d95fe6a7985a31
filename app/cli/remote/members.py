"""The people of the account, and their roles."""

from __future__ import annotations

from typing import Any

import click

from app.cli.remote.connection import pass_client
from app.cli.remote.output import Columns, json_option, print_json, print_list, say
from app.client import Client

ROLES = click.Choice(["viewer", "member", "admin"])


@click.group()
def members() -> None:
    """Add, list, change and remove the people of the account.

    MEMBER is the id of a member. A viewer reads, a member works with runners, an admin does everything. Changes need a
    token with the scope `admin`.
    """


@members.command("list")
@json_option
@pass_client
def list_members(client: Client, as_json: bool) -> None:
    """List the people of the account, oldest first.

    \b
    agent-runners members list
    """
    columns: Columns = {"id": "id", "role": _role, "email": "email", "name": "full_name"}
    print_list(client.members(), columns, as_json=as_json)


@members.command()
@click.argument("email")
@click.argument("name")
@click.option("--role", type=ROLES, default="member", show_default=True)
@json_option
@pass_client
def add(client: Client, email: str, name: str, role: str, as_json: bool) -> None:
    """Add a person, and print a token for them. It is not shown again.

    \b
    agent-runners members add grace@example.org "Grace Hopper"
    """
    made = client.create_member(email, name, role=role)
    if as_json:
        print_json(made)
        return
    print(made["token"])
    say(f"This token of {made['email']} ({made['id']}) is shown only once.")


@members.command("set")
@click.argument("member")
@click.option("--role", type=ROLES)
@click.option("--name", "full_name", help="The person's name.")
@click.option("--disable/--enable", "disabled", default=None, help="Refuse all of their tokens, or take them again.")
@json_option
@pass_client
def set_member(client: Client, member: str, as_json: bool, **fields: Any) -> None:
    """Change a member. A new role holds at once, for all of their tokens.

    \b
    agent-runners members set 0197c1de-0000-7000-8000-000000000002 --role viewer
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if not given:
        raise click.UsageError("Nothing to change. Give --role, --name, --disable or --enable.")
    changed = client.update_member(member, **given)
    if as_json:
        print_json(changed)


@members.command()
@click.argument("member")
@json_option
@pass_client
def remove(client: Client, member: str, as_json: bool) -> None:
    """Disable a member for good: all of their tokens are revoked.

    \b
    agent-runners members remove 0197c1de-0000-7000-8000-000000000002
    """
    client.delete_member(member)
    if as_json:
        print_json({"id": member})


def _role(member: dict[str, Any]) -> str:
    return "disabled" if member["disabled_at"] else str(member["role"])
