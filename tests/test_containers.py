"""docker-compose.yml and the Dockerfile name only what exists. No container engine is needed to know that."""

from __future__ import annotations

import dataclasses
import re
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


def test_nothing_but_web_flower_and_the_store_is_published_and_that_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"web", "flower", "s3"}
    assert all("127.0.0.1" in port for ports in published.values() for port in ports)


def test_what_shows_and_publishes_knows_the_keys_of_the_models_too() -> None:
    for name in ("web", "sessions", "control"):
        assert {"ANTHROPIC_API_KEY", "OPENAI_API_KEY"} <= set(OURS[name]["environment"])


def test_what_runs_agents_has_limits_as_a_whole() -> None:
    assert {"mem_limit", "pids_limit"} <= set(OURS["sessions"])


def test_every_secret_is_asked_for_and_stands_in_the_example() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required == {"POSTGRES_PASSWORD", "BROKER_PASSWORD", "SECRET_KEY", "FLOWER_AUTH"}
    known = set(re.findall(r"^#?(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?<!\$)\$\{(\w+)", text)) <= known


def test_the_image_sets_only_settings_that_exist() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert set(re.findall(rf"{PREFIX}\w+", text)) <= SETTINGS
