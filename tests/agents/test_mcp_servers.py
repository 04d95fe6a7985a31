"""Agents that use the MCP servers of a site."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.agents import mcp_server
from tests.agents.real import ALWAYS, SANDBOXED, Real
from tests.model_servers import directive
from workers.job import BoundSecret, McpServer

SECRET = "tools-0123456789abcdef"
PROGRAM = Path(mcp_server.__file__).read_text()


@pytest.mark.parametrize("real", [each for each in SANDBOXED if each.id in ALWAYS], indirect=True)
def test_a_remote_server_and_a_program_are_used_without_the_tools_that_are_switched_off(real: Real) -> None:
    names = (("tools.example", "127.0.0.1"),)
    real.engine.host = dataclasses.replace(real.engine.host, resolve=names, allow_private_addresses=True)
    mcp_server.credentials.clear()
    with mcp_server.mcp_server() as port:
        attempt = real.run(
            directive("call", "mcp__remote__lookup", {}),
            directive("call", "mcp__bound__lookup", {}),
            directive("call", "mcp__local__lookup", {}),
            directive("call", "mcp__local__delete", {}),
            variables={"REGION": "in the north"},
            bound_secrets=(BoundSecret("TOOLS", f"http://tools.example:{port}", "authorization", "Bearer ", SECRET),),
            mcp_servers=(
                McpServer("remote", url=f"http://tools.example:{port}/mcp"),
                McpServer(
                    "local", command=("python3", "-c", PROGRAM), variables=("REGION",), disabled_tools=("delete",)
                ),
                McpServer("bound", url=f"http://tools.example:{port}/mcp", credential="TOOLS"),
                McpServer("other", url="https://other.example/mcp", credential="MISSING"),
            ),
        )
    assert attempt.outcome.failure is None
    said = str(real.model.requests[-1].body)
    assert said.count("the answer is 42") == 3 and said.count("the answer is 42 in the north") == 1
    assert {*mcp_server.credentials} == {f"Bearer {SECRET}"}
    assert "MCP servers that the agent does not get" in attempt.steps
