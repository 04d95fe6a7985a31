"""The demo with agents that have a program and a key of their own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.agents.real import REAL_AGENTS
from tests.cli.processes import PROGRAM, environment
from tests.model_servers import KEY, directive, model_server
from tests.model_servers.script import FINAL
from tests.ports import free_port
from tests.workers.engine import needs_bubblewrap

KEYS = {"codex": "OPENAI_API_KEY", "claude": "ANTHROPIC_API_KEY"}


def demo(folder: Path, agent: str, prompt: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [PROGRAM, "demo", "--once", "--data-dir", str(folder / "demo"), "--port", str(free_port())]
    keyless = {name: value for name, value in environment(folder).items() if name not in KEYS.values()}
    return subprocess.run(
        [*command, "--agent", agent, prompt], env=keyless | variables, capture_output=True, text=True, timeout=90
    )


@needs_bubblewrap
@pytest.mark.parametrize("agent", REAL_AGENTS)
def test_a_real_agent_changes_the_sample_with_the_users_own_key(folder: Path, agent: str) -> None:
    with model_server() as model:
        done = demo(folder, agent, f"Note this.\n{directive('write', 'NOTE.md', 'noted')}", model.environment())
        asked = {request.key for request in model.requests}
    assert done.returncode == 0, done.stdout + done.stderr
    assert "+noted" in done.stdout and FINAL in done.stdout
    assert asked == {KEY}
    assert KEY not in done.stdout + done.stderr + (folder / "demo" / "log.txt").read_text()


@pytest.mark.parametrize("agent", REAL_AGENTS)
def test_a_missing_key_is_reported_before_anything_starts(folder: Path, agent: str) -> None:
    done = demo(folder, agent, "anything", {})
    assert done.returncode == 1
    assert f"export {KEYS[agent]}=" in done.stderr
    assert not (folder / "demo" / "log.txt").exists()


@pytest.mark.parametrize("agent", KEYS)
def test_a_missing_program_is_reported_with_the_install_command(folder: Path, agent: str) -> None:
    for package in ("codex_cli_bin", "claude_agent_sdk"):
        (folder / "empty" / package).mkdir(parents=True)
        (folder / "empty" / package / "__init__.py").touch()
    (folder / "empty" / "git").symlink_to(str(shutil.which("git")))
    # Python packages without a program in them come before those that are installed.
    hidden = {"PATH": str(folder / "empty"), "PYTHONPATH": str(folder / "empty")}
    done = demo(folder, agent, "anything", {KEYS[agent]: KEY, **hidden})
    assert done.returncode == 1
    assert f"bin/install-agents {agent}" in done.stderr


def test_an_unknown_agent_is_reported_with_the_known_ones(folder: Path) -> None:
    done = demo(folder, "hal", "anything", {})
    assert done.returncode == 1
    assert "Use one of: claude, codex" in done.stderr
