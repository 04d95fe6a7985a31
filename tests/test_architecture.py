"""The walls of the house: what may import what. The rules stand in setup.cfg."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from app.models.states import Forge
from app.services.sites.forges import FORGES, server_of
from workers.forges.identity import IDENTITIES
from workers.forges.registry import ADAPTERS, CHECKS, DISCUSSIONS, ISSUES
from workers.forges.servers import root_of

ROOT = Path(__file__).parents[1]
HEAVY = ("git", "tasks", "workers", "app.demo")


def test_every_room_imports_only_what_it_may() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    command = [str(program), "--config", "setup.cfg", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_web_process_loads_neither_engine_nor_tasks_nor_demonstration_nor_what_only_command_lines_need() -> None:
    """Nor do the command line and the client load the first three. They are imported in turn by one Python, which has
    loaded what any of them loads."""
    code = (
        "import sys, app.serving.__main__, app.web; print([name for name in ('rich', 'cffi') if name in sys.modules])\n"
        f"import app.cli.main, app.client; print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["[]", "[]"], done.stdout + done.stderr


def test_the_api_offers_pull_requests_where_the_engine_can_open_them() -> None:
    assert set(FORGES) == set(Forge)
    assert {forge for forge, known in FORGES.items() if known.has_pull_requests} == set(ADAPTERS)
    assert set(ADAPTERS) == set(DISCUSSIONS) == set(CHECKS) == set(IDENTITIES), (
        "the API offers these with pull requests"
    )
    assert {forge for forge in ADAPTERS if FORGES[Forge(forge)].has_issues} == set(ISSUES)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_the_api_and_the_engine_tell_servers_of_forges_apart_by_the_same_rules(kind: str) -> None:
    known = [FORGES[Forge(kind)].api_url or "https://git.example.org"]
    ends = (
        "",
        "/",
        "/api/v3",
        "/api/v4/",
        "/api/v1",
        "/2.0",
        "/rest",
        "/rest/api",
        "/rest/api/latest/",
        "/git",
        "/git/api/v3",
    )
    for api_url in (*known, *(f"https://git.example.org{end}" for end in ends)):
        assert server_of(Forge(kind), api_url) == root_of(kind, api_url)
