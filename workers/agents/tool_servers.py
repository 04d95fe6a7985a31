"""The servers of the Model Context Protocol that an agent uses, in the forms that programs want them in."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from workers.agents import ask_server
from workers.agents.questions import FILE
from workers.egress.gateway.providers import host_of
from workers.events import Step
from workers.job import Job, McpServer
from workers.sandbox import Place

# Without `_` and `-`, which programs put between the name of a server and that of a tool.
ASKING = "questions"
_ASK = ".agent-runners/ask_server.py"


@dataclass(frozen=True)
class ToolServer:
    """A program that serves tools over its standard input and output, or a server at a URL."""

    name: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    url: str | None = field(default=None, repr=False)
    disabled_tools: tuple[str, ...] = ()


def servers_of(job: Job, place: Place) -> tuple[ToolServer, ...]:
    """The servers for the agent of a job. One whose credential is not there is left out."""
    python = (os.path.realpath(sys.executable), "-I", "-S")
    asking = ToolServer(ASKING, (*python, f"{place.home}/{_ASK}", f"{place.home}/{FILE}"))
    given = [_resolved(each, job.environment) for each in job.mcp_servers if not _lacks_credential(each, job)]
    return (*((asking,) if job.may_ask else ()), *given)


def _resolved(server: McpServer, environment: Mapping[str, str]) -> ToolServer:
    url = server.url
    if url and server.credential:
        # The gateway adds the secret to what is sent to its own URL.
        url = f"{environment[f'{server.credential}_URL'].rstrip('/')}/{_path_of(url)}"
    own = {name: environment[name] for name in server.variables if name in environment}
    return ToolServer(server.name, server.command, own, url, server.disabled_tools)


def _path_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path.lstrip('/')}{f'?{parts.query}' if parts.query else ''}"


def _lacks_credential(server: McpServer, job: Job) -> bool:
    if server.url is None or server.credential is None:
        return False
    host = host_of(server.url)
    is_bound = any(each.name == server.credential and host_of(each.url) == host for each in job.bound_secrets)
    return not is_bound or f"{server.credential}_URL" not in job.environment


def left_out(job: Job, *, speaks_mcp: bool, can_disable_tools: bool) -> Step | None:
    """The step that says which servers of a job its agent does not get, if there are any."""
    lines = []
    for each in job.mcp_servers:
        if not speaks_mcp:
            lines.append(f"{each.name}: {job.agent} does not support MCP servers.")
        elif _lacks_credential(each, job):
            lines.append(f"{each.name}: no secret {each.credential} is bound to its host. Add one to the site.")
        elif each.disabled_tools and not can_disable_tools:
            lines.append(f"{each.name}: {job.agent} cannot disable tools. Remove disabled_tools, or use another agent.")
    return Step("MCP servers that the agent does not get", "\n".join(lines)) if lines else None


def server_files(job: Job) -> dict[str, bytes]:
    """What these servers need in the private home."""
    return {_ASK: Path(ask_server.__file__).read_bytes()} if job.may_ask else {}


def as_settings(
    servers: tuple[ToolServer, ...], *, url: str = "url", local: str = "", excluded: str = "", **more: object
) -> dict[str, Any]:
    """The value of `mcpServers`, which Claude Code has introduced and others have taken over, with names of their own.

    `url` is the field of a URL, and `local` the type of a program, if servers have a type; `excluded` is the field of the
    tools that are switched off, if there is one.
    """
    settings: dict[str, Any] = {}
    for each in servers:
        if each.url:
            one: dict[str, Any] = {url: each.url, **({"type": "http"} if local else {})}
        else:
            one = {"command": each.command[0], "args": [*each.command[1:]], "env": {**each.environment}}
            one |= {"type": local} if local else {}
        settings[each.name] = {**one, **({excluded: [*each.disabled_tools]} if excluded else {}), **more}
    return settings
