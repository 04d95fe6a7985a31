"""List the agents that a deployment can run."""

from __future__ import annotations

from typing import Any

import click

from app.cli.remote.connection import pass_client
from app.cli.remote.output import json_option, print_json, print_rows
from app.client import Client


@click.command()
@json_option
@pass_client
def agents(client: Client, as_json: bool) -> None:
    """List the agents that `--agent` may name, and what is missing to run them."""
    found = client.agents()
    if as_json:
        print_json(found)
        return
    print_rows(("agent", "version", "state"), [(each["name"], each["version"] or "", _state(each)) for each in found])


def _state(agent: dict[str, Any]) -> str:
    if agent["available"] is None:
        return "not known: no worker has reported yet"
    if agent["available"]:
        return "ready"
    return agent["missing"] or "no key"
