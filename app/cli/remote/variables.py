"""Variables and secrets of sites, or of all sites of the account."""

from __future__ import annotations

import functools
from typing import Any

import click

from app.cli.errors import CommandError
from app.cli.remote.connection import pass_client
from app.cli.remote.output import Columns, json_option, print_json, print_list, read_value
from app.cli.remote.sites import find_site
from app.client import Client

_site = click.option("--site", help="The name or the id of a site. Default: all sites of the account.")


@click.group()
def variables() -> None:
    """Set variables and secrets of a site, or of all sites of the account."""


@variables.command("list")
@_site
@json_option
@pass_client
def list_variables(client: Client, site: str | None, as_json: bool) -> None:
    """List variables. The values of secrets are never shown.

    \b
    agent-runners variables list --site shop
    """
    columns: Columns = {
        "name": "name",
        "for": _reader,
        "value": _value,
        "fingerprint": "fingerprint",
        "changed": "updated_at",
    }
    print_list(_find(client, _id_of(client, site)), columns, as_json=as_json)


def _reader(variable: dict[str, Any]) -> str:
    return variable["host"] or variable["stage"]


def _value(variable: dict[str, Any]) -> str:
    return "(secret)" if variable["secret"] else variable["value"]


@variables.command("set")
@click.argument("name")
@_site
@click.option("--stage", type=click.Choice(["setup", "agent", "both"]), help="What gets it. Default: agent.")
@click.option("--host", help="The only host that gets the secret. The agent gets a placeholder and a URL.")
@click.option("--header", help="The header that the host gets it in. Default: `Authorization: Bearer`.")
@click.option("--public", is_flag=True, help="The value is no secret, and is shown.")
@json_option
@pass_client
def set_variable(client: Client, name: str, site: str | None, public: bool, as_json: bool, **given: str | None) -> None:
    """Create the variable NAME, or change it. Its value is asked for, or read from standard input.

    \b
    agent-runners variables set NPM_TOKEN --site shop --stage setup < token.txt
    """
    site_id = _id_of(client, site)
    fields: dict[str, Any] = {"value": read_value(), **{field: text for field, text in given.items() if text}}
    if public:
        fields["secret"] = False
    known = _find_id(client, site_id, name)
    if site_id is None:
        create, update = client.create_account_variable, client.update_account_variable
    else:
        create = functools.partial(client.create_site_variable, site_id)
        update = functools.partial(client.update_site_variable, site_id)
    made = update(known, **fields) if known else create(name, **fields)
    if as_json:
        print_json(made)


@variables.command()
@click.argument("name")
@_site
@json_option
@pass_client
def remove(client: Client, name: str, site: str | None, as_json: bool) -> None:
    """Delete the variable NAME. Sessions that run already keep it.

    \b
    agent-runners variables remove NPM_TOKEN --site shop
    """
    site_id = _id_of(client, site)
    known = _find_id(client, site_id, name)
    if known is None:
        raise CommandError(f"there is no variable {name} here. `agent-runners variables list` shows them")
    if site_id is None:
        client.delete_account_variable(known)
    else:
        client.delete_site_variable(site_id, known)
    if as_json:
        print_json({"id": known})


def _id_of(client: Client, site: str | None) -> str | None:
    return find_site(client, site)["id"] if site else None


def _find_id(client: Client, site_id: str | None, name: str) -> str | None:
    return next((each["id"] for each in _find(client, site_id) if each["name"] == name), None)


def _find(client: Client, site_id: str | None) -> list[dict[str, Any]]:
    """The variables of the site, or of the account."""
    return list(client.account_variables() if site_id is None else client.site_variables(site_id))
