"""docker-compose.yml and the Dockerfile name only what exists. No container engine is needed to know that."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from honcho.environ import parse_procfile

from app.cli.main import COMMANDS
from app.config import PREFIX, Settings

ROOT = Path(__file__).parents[1]
SETTINGS = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image") == "agent-runners"}


def test_every_process_of_the_procfile_is_there() -> None:
    processes = parse_procfile((ROOT / "Procfile").read_text()).processes
    assert set(processes) <= set(SERVICES)
    for name in set(processes) - {"broker"}:
        assert OURS[name]["command"].startswith(processes[name].removeprefix("agent-runners "))


@pytest.mark.parametrize("name", OURS)
def test_our_services_name_commands_and_settings_that_exist(name: str) -> None:
    service = OURS[name]
    assert service["command"].split()[0] in COMMANDS
    assert {variable for variable in service["environment"] if variable.startswith(PREFIX)} <= SETTINGS
    assert service["stop_grace_period"] == "60s"


def test_nothing_but_web_mcp_flower_and_the_store_is_published_and_that_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"web", "mcp", "flower", "s3"}
    assert all("127.0.0.1" in port for ports in published.values() for port in ports)


def test_what_shows_and_publishes_knows_the_keys_of_the_models_too() -> None:
    for name in ("web", "sessions", "control"):
        assert {"ANTHROPIC_API_KEY", "OPENAI_API_KEY"} <= set(OURS[name]["environment"])


def test_what_runs_agents_has_limits_as_a_whole() -> None:
    assert {"mem_limit", "pids_limit"} <= set(OURS["sessions"])


def test_every_secret_is_required_and_is_in_the_example() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required == {"POSTGRES_PASSWORD", "BROKER_PASSWORD", "SECRET_KEY", "FLOWER_AUTH"}
    known = set(re.findall(r"^#?(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?<!\$)\$\{(\w+)", text)) <= known


def copied() -> list[str]:
    """What the image is made of, as paths of the project."""
    lines = re.findall(r"^COPY (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    return [source for line in lines for source in line.split()[:-1]]


def test_the_image_is_made_of_what_exists() -> None:
    assert all((ROOT / source).exists() for source in copied())


def test_what_messages_name_is_in_the_image() -> None:
    sources = [path for folder in ("app", "tasks", "workers") for path in (ROOT / folder).rglob("*.py")]
    named = {
        name for path in sources for name in re.findall(r"(?<!/)docs/\w+\.md|bin/install-agents", path.read_text())
    }
    assert named and all((ROOT / name).exists() for name in named)
    assert all(any(name.split("/")[0] == source or name == source for source in copied()) for name in named)


@pytest.mark.parametrize("agent", ["codex", "claude"])
def test_the_image_installs_agents_beside_the_product(tmp_path: Path, agent: str) -> None:
    """As in the image: `bin/install-agents` without `bin/setup`, and a Python on PATH."""
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "bin" / "install-agents", tmp_path / "bin")
    python = tmp_path / "tools" / "python3"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/log\n')
    python.chmod(0o755)
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([tmp_path / "bin" / "install-agents", agent], env={"PATH": path}, check=True, capture_output=True)
    installed = (tmp_path / "log").read_text().splitlines()[-1]
    assert re.fullmatch(rf"-m pip install .*{agent}-[\w-]+==[\d.]+", installed), installed


def test_the_image_sets_only_settings_that_exist() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert set(re.findall(rf"{PREFIX}\w+", text)) <= SETTINGS


@pytest.mark.parametrize("name", sorted(set(SERVICES) - set(OURS)))
def test_images_of_others_can_be_pinned_by_their_digest(name: str) -> None:
    variable, tag = re.fullmatch(r"\$\{(\w+):-([\w./-]+:[\w.-]+)\}", SERVICES[name]["image"]).groups()
    assert f"#{variable}={tag}@sha256:" in (ROOT / ".env.example").read_text().splitlines()


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_can_gain_privileges(name: str) -> None:
    service = SERVICES[name]
    assert "no-new-privileges:true" in service["security_opt"]
    if name != "s3":
        assert service["cap_drop"] == ["ALL"] and service["read_only"]


def test_secrets_are_where_they_are_needed() -> None:
    keys = {name for name, service in OURS.items() if "AWS_SECRET_ACCESS_KEY" in service["environment"]}
    assert keys == {"web", "sessions", "control"}
    assert set(OURS["flower"]["environment"]) == {"AGENT_RUNNERS_BROKER_URL", "AGENT_RUNNERS_FLOWER_AUTH"}
    assert {name for name in OURS["mcp"]["environment"] if "KEY" in name or "DATABASE" in name} == set()
    assert not OURS["flower"]["volumes"] and not OURS["mcp"]["volumes"]
