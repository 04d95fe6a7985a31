"""Serve the Model Context Protocol, so that other agents can hand work to this deployment."""

from __future__ import annotations

import click

from app.cli.errors import CommandError
from app.cli.remote.connection import pass_client
from app.client import Client


@click.command()
@pass_client
def mcp(client: Client) -> None:
    """Serve the Model Context Protocol on standard input and output, for another agent to start.

    It has the rights of the token that you are logged in with.

    \b
    claude mcp add agent-runners -- agent-runners mcp
    codex mcp add agent-runners -- agent-runners mcp
    """
    try:
        from app.mcp.server import create_server
    except ModuleNotFoundError as error:
        raise CommandError("the package mcp is not installed. Run: pip install 'agent-runners[mcp]'") from error
    client.me()  # A wrong token or URL is an error now, and not with the first call of a tool.
    create_server(client).run("stdio")
