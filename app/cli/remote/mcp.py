"""Serve the Model Context Protocol, so that other agents can hand work to this deployment."""

from __future__ import annotations

import click

from app.cli.processes import require_free_port
from app.cli.remote.connection import connect, find_login
from app.config import Settings


@click.command()
@click.option("--http", is_flag=True, help="Serve /mcp over HTTP, as a process of a deployment.")
def mcp(http: bool) -> None:
    """Serve the Model Context Protocol on standard input and output, for another agent to start.

    It has the rights of the token that you are logged in with. With --http, each request has those of its own token.

    \b
    claude mcp add agent-runners -- agent-runners mcp
    codex mcp add agent-runners -- agent-runners mcp
    """
    _serve_http(Settings.from_environment()) if http else _serve_stdio()


def _serve_stdio() -> None:
    # Imported only here, because it takes a second, and its help is shown without.
    from app.mcp.server import create_server

    with connect(find_login()) as client:
        client.me()  # A wrong token or URL is an error now, and not with the first call of a tool.
        create_server(lambda: client).run("stdio")


def _serve_http(settings: Settings) -> None:
    from app.mcp.http import serve

    require_free_port(settings.mcp_host, settings.mcp_port, "AGENT_RUNNERS_MCP_PORT")
    serve(
        settings.mcp_host,
        settings.mcp_port,
        api_url=settings.mcp_api_url or settings.local_url,
        public_url=settings.public_url,
    )
