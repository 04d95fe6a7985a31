"""List the agents that a deployment can run."""

from __future__ import annotations

from typing import Any

import click

from app.cli.remote.connection import pass_client
from app.cli.remote.output import json_option, print_list
from app.client import Client


@click.command()
@json_option
@pass_client
def agents(client: Client, as_json: bool) -> None:
    """List the agents that `--agent` may name, and what is missing to run them.

    \b
    agent-runners agents
    """
    print_list(client.agents(), {"agent": "name", "version": "version", "state": _state}, as_json=as_json)


def _state(agent: dict[str, Any]) -> str:
    if agent["available"] is None:
        return "not known: no worker has reported yet"
    if agent["available"]:
        return "ready"
    return agent["missing"] or "no key"
