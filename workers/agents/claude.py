"""Claude Code, the agent of Anthropic, from npm or a wheel that bundles it. It is proprietary: who installs it accepts
its terms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from workers.agents.base import ConversationFiles
from workers.agents.claude_stream import ClaudeStreamAgent, folder_of
from workers.agents.tool_servers import as_settings, servers_of
from workers.sandbox import Place

_SERVERS = ".agent-runners/mcp.json"
_RETRIES = "CLAUDE_CODE_MAX_RETRIES"


class ClaudeAgent(ClaudeStreamAgent):
    """`claude -p` with a stream of JSON."""

    name = "claude"
    label = "Claude Code"
    program = "claude"
    wheel = "claude_agent_sdk/_bundled"
    install = "npm install -g @anthropic-ai/claude-code"
    version = "claude_code_version"
    variables = ("ANTHROPIC_", "CLAUDE_")
    key = "ANTHROPIC_API_KEY"
    logins = ("CLAUDE_CODE_OAUTH_TOKEN",)
    other_keys = ("ANTHROPIC_AUTH_TOKEN",)
    provider = ("ANTHROPIC_BASE_URL", "https://api.anthropic.com")
    api = "anthropic"
    speaks_mcp = True

    def command(self, place: Place) -> Sequence[str]:
        # Inside the sandbox it may do everything. Without one it may edit files, but not run any command.
        permission = "bypassPermissions" if place.isolated else "acceptEdits"
        # It knows the cost of each call, but reports the cost to us only at its end.
        budget = self.job.limits.max_cost_usd
        chosen = {
            "--model": self.job.model,
            "--effort": self.job.effort,
            "--max-budget-usd": budget and f"{budget:f}",
            "--resume": self.resumes,
        }
        servers = servers_of(self.job, place)
        off = [f"mcp__{each.name}__{tool}" for each in servers for tool in each.disabled_tools]
        tools = {
            "--mcp-config": servers and f"{place.home}/{_SERVERS}",
            # Without a sandbox it would ask whether it may use these.
            "--allowedTools": ",".join(f"mcp__{each.name}" for each in servers),
            "--disallowedTools": ",".join(off),
        }
        return [
            *(*self.called, "-p", "--output-format", "stream-json", "--verbose"),
            *("--permission-mode", permission, f"--add-dir={place.attachments}"),
            *(f"{option}={value}" for option, value in {**tools, **chosen}.items() if value),
        ]

    def files(self, place: Place) -> Mapping[str, bytes]:
        servers = {"mcpServers": as_settings(servers_of(self.job, place), local="stdio")}
        return {**super().files(place), _SERVERS: json.dumps(servers).encode()}

    def environment(self, place: Place) -> Mapping[str, str]:
        variables = {
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            # By default it retries for over a minute, even if the key is wrong.
            _RETRIES: self.job.environment.get(_RETRIES, "4"),
        }
        return {**variables, "IS_SANDBOX": "1"} if place.isolated else variables

    def conversation_files(self, place: Place, session_id: str) -> ConversationFiles:
        folder = f".claude/projects/{folder_of(place.checkout)}"
        # Those of its subagents are in a folder beside its own.
        return ((folder, f"{session_id}.jsonl"), (folder, f"{session_id}/*"))
