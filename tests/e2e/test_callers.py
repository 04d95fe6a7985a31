"""The command line and another agent, as real processes that call a deployment."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.deployment import PROGRAM, Deployment, git
from tests.program import run_program


def caller(deployment: Deployment, folder: Path) -> dict[str, str]:
    """The environment of somebody who has a token."""
    token = str(deployment.api.headers["Authorization"]).removeprefix("Bearer ")
    mine = {"XDG_CONFIG_HOME": str(folder), "AGENT_RUNNERS_URL": deployment.url, "AGENT_RUNNERS_TOKEN": token}
    return {**{name: value for name, value in os.environ.items() if not name.startswith("AGENT_RUNNERS_")}, **mine}


def test_a_script_runs_an_agent_and_applies_its_change(deployment: Deployment, tmp_path: Path) -> None:
    repository = deployment.make_repository({"a.txt": "a\n"}, "scripted")
    deployment.make_site(repository, name="scripted")
    environment = caller(deployment, tmp_path)
    script = "echo b > a.txt; printf '\\0\\1' > new.bin; echo changed"
    ran = run_program(["run", "--site", "scripted", "--agent", "shell", script], environment)
    assert ran.returncode == 0, ran.stderr
    assert "changed" in ran.stdout and "DONE" in ran.stdout

    runner = ran.stderr.split()[1]
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(repository), str(clone)], check=True)
    diff = subprocess.run([PROGRAM, "diff", runner], env=environment, capture_output=True, check=True).stdout
    subprocess.run(["git", "apply", "--binary"], cwd=clone, input=diff, check=True)
    assert (clone / "new.bin").read_bytes() == b"\0\1" and git(clone, "diff", "--name-only").split() == ["a.txt"]

    failed = run_program(["say", "--agent", "shell", "--wait", "exit 3", runner], environment)
    assert failed.returncode == 1 and "agent_failed" in failed.stdout


def test_another_agent_starts_the_server_of_the_protocol(deployment: Deployment, tmp_path: Path) -> None:
    deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, "handed"), name="handed")

    async def work() -> Any:
        server = StdioServerParameters(command=PROGRAM, args=["mcp"], env=caller(deployment, tmp_path))
        async with Client(server) as client:
            task = {"site": "handed", "prompt": "echo b > a.txt", "agent": "shell", "wait_seconds": 50}
            return (await client.call_tool("start_run", task)).content[0].text

    answer = asyncio.run(work())
    assert "DONE" in answer and "get_diff" in answer


def test_another_agent_calls_the_server_of_the_protocol(deployment: Deployment, mcp_url: str) -> None:
    deployment.make_site(deployment.make_repository({"a.txt": "a\n"}, "called"), name="called")

    async def work() -> Any:
        headers = {"Authorization": deployment.api.headers["Authorization"]}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(mcp_url, http_client=http)) as client,
        ):
            task = {"site": "called", "prompt": "echo b > a.txt", "agent": "shell", "wait_seconds": 50}
            return (await client.call_tool("start_run", task)).content[0].text

    answer = asyncio.run(work())
    assert "DONE" in answer and "get_diff" in answer
