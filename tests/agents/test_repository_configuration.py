"""A repository that configures agents to run its code: nothing runs without the leave of its site."""

from __future__ import annotations

import json
import re

import pytest

from tests.agents.real import EDIT, SANDBOXED, WITHOUT_SANDBOX, Real
from tests.model_servers import directive
from tests.workers.engine import git
from workers.events import Step

# Each leaves a file in the checkout whose name tells what made it.
HOOK = {"hooks": [{"type": "command", "command": "touch $CLAUDE_PROJECT_DIR/mark-of-hook mark-of-hook"}]}
HOOKS = {"SessionStart": [HOOK], "UserPromptSubmit": [HOOK], "PreToolUse": [{"matcher": "*", **HOOK}], "Stop": [HOOK]}
SERVER = {"command": "sh", "args": ["-c", "touch mark-of-server; cat"]}
FILES = {
    ".claude/settings.json": json.dumps(
        {"hooks": HOOKS, "enableAllProjectMcpServers": True, "env": {"BASH_ENV": "./mark.sh"}}
    ),
    ".mcp.json": json.dumps({"mcpServers": {"mark": SERVER}}),
    ".codex/config.toml": 'notify = ["touch", "mark-of-notify"]\n'
    + '[mcp_servers.mark]\ncommand = "sh"\nargs = ["-c", "touch mark-of-server; cat"]\n',
    ".codex/hooks.json": json.dumps({"hooks": HOOKS}),
    ".gemini/settings.json": json.dumps({"mcpServers": {"mark": SERVER}}),
    ".qwen/settings.json": json.dumps({"mcpServers": {"mark": SERVER}}),
    "opencode.json": json.dumps({"mcp": {"mark": {"type": "local", "command": ["sh", *SERVER["args"]]}}}),
    ".env": "BASH_ENV=./mark.sh\n",
    "mark.sh": "touch mark-of-variables\n",
    "CLAUDE.md": "Instructions of the repository: be kind.\n",
    "GEMINI.md": "Instructions of the repository: be kind.\n",
    "AGENTS.md": "Instructions of the repository: be kind.\n",
}
COMMAND = directive("run", "true")


def configure(real: Real) -> None:
    for name, content in FILES.items():
        path = real.engine.source / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    git(real.engine.source, "add", "--all", "--force")
    git(real.engine.source, "commit", "-qm", "configuration")


@pytest.mark.parametrize("real", [*SANDBOXED, *WITHOUT_SANDBOX], indirect=True)
def test_without_leave_nothing_of_it_runs_and_instructions_are_read(real: Real) -> None:
    configure(real)
    attempt = real.run(*EDIT, COMMAND)
    assert attempt.outcome.failure is None
    assert "mark-of" not in real.engine.diff and real.engine.diff.count("diff --git") == 1
    withheld = next(
        event.message
        for event in attempt.events
        if isinstance(event, Step) and "Agent configuration not used" in event.title
    )
    assert withheld.split() == [".claude", ".codex", ".env", ".gemini", ".mcp.json", ".qwen", "opencode.json"]
    # mini-swe-agent reads no instructions.
    reads = real.agent != "mini-swe-agent"
    assert any("Instructions of the repository: be kind." in str(each.body) for each in real.model.requests) is reads


@pytest.mark.parametrize("real", SANDBOXED, indirect=True)
def test_with_leave_it_does_what_the_program_makes_of_it(real: Real) -> None:
    configure(real)
    attempt = real.run(*EDIT, COMMAND, allow_agent_configuration=True)
    assert attempt.outcome.failure is None
    made = set(re.findall(r"^diff --git a/(mark-of-\S+)", real.engine.diff, re.MULTILINE))
    assert (
        made
        == {
            "codex": {"mark-of-server"},
            "claude": {"mark-of-hook", "mark-of-server", "mark-of-variables"},
            # It starts no server of a folder that nobody has trusted on a screen.
            "copilot": set(),
            "gemini": {"mark-of-server", "mark-of-variables"},
            "mini-swe-agent": set(),
            "opencode": {"mark-of-server"},
            "qwen": {"mark-of-server"},
        }[real.agent]
    ), "these show that the marks of the test above would be left"
