"""The demo with agents that have a program and a key of their own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.agents.real import REAL_AGENTS
from tests.cli.processes import PROGRAM, environment
from tests.matrix import usual
from tests.model_servers import KEY, directive, model_server
from tests.model_servers.script import FINAL
from tests.ports import free_port
from tests.program import run_program
from tests.workers.engine import needs_bubblewrap

KEYS = {"codex": "OPENAI_API_KEY", "claude": "ANTHROPIC_API_KEY"}


def command(folder: Path, agent: str, prompt: str) -> list[str]:
    options = ["--once", "--data-dir", str(folder / "demo"), "--port", str(free_port())]
    return ["demo", *options, "--agent", agent, prompt]


def keyless(folder: Path) -> dict[str, str]:
    return {name: value for name, value in environment(folder).items() if name not in KEYS.values()}


def refused(folder: Path, agent: str, **variables: str) -> str:
    """What the demo says that does not start."""
    done = run_program(command(folder, agent, "anything"), keyless(folder) | variables)
    assert done.returncode == 1
    assert not (folder / "demo" / "log.txt").exists()
    return done.stderr


@needs_bubblewrap
@pytest.mark.parametrize("agent", REAL_AGENTS)
def test_a_real_agent_changes_the_sample_with_the_users_own_key(folder: Path, agent: str) -> None:
    with model_server() as model:
        prompt = f"Note this.\n{directive('write', 'NOTE.md', 'noted')}"
        variables = keyless(folder) | model.environment()
        done = subprocess.run(
            [PROGRAM, *command(folder, agent, prompt)], env=variables, capture_output=True, text=True, timeout=90
        )
        asked = {request.key for request in model.requests}
    assert done.returncode == 0, done.stdout + done.stderr
    assert "+noted" in done.stdout and FINAL in done.stdout
    assert asked == {KEY}
    assert KEY not in done.stdout + done.stderr + (folder / "demo" / "log.txt").read_text()


@pytest.mark.parametrize("agent", REAL_AGENTS)
def test_a_missing_key_is_reported_before_anything_starts(folder: Path, agent: str) -> None:
    assert f"export {KEYS[agent]}=" in refused(folder, agent)


# `tests/workers/agents/test_adapters.py` shows it of each agent.
@pytest.mark.parametrize("agent", usual([*KEYS]))
def test_a_missing_program_is_reported_with_the_install_command(folder: Path, agent: str) -> None:
    for package in ("codex_cli_bin", "claude_agent_sdk"):
        (folder / "empty" / package).mkdir(parents=True)
        (folder / "empty" / package / "__init__.py").touch()
    (folder / "empty" / "git").symlink_to(str(shutil.which("git")))
    # Python packages without a program in them come before those that are installed.
    hidden = {"PATH": str(folder / "empty"), "PYTHONPATH": str(folder / "empty")}
    assert f"bin/install-agents {agent}" in refused(folder, agent, **{KEYS[agent]: KEY, **hidden})


def test_an_unknown_agent_is_reported_with_the_known_ones(folder: Path) -> None:
    assert "Use one of: claude, codex" in refused(folder, "hal")
