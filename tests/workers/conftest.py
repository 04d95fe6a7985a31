"""What tests of the engine share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo.conftest import forge
from tests.workers import repositories
from tests.workers.attempts import Engine, engine_in
from tests.workers.engine import USUAL_SANDBOX
from tests.workers.repositories import dispose_of_prepared, make_host, while_furnishing
from workers.job import Host
from workers.sandbox import probing
from workers.workspace import overlay_probe

__all__ = ["forge"]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH on which node and the programs of all agents are found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("codex", "claude", "copilot", "gemini", "mini", "node", "opencode", "qwen"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host that may fetch from the test's folder."""
    return make_host(tmp_path / "work")


@pytest.fixture(params=USUAL_SANDBOX)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An engine with the usual sandbox."""
    with engine_in(tmp_path, request.param) as made:
        yield made


@pytest.fixture
def unknown_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known yet of the sandbox of this machine, and what this test finds out is forgotten."""
    for module, known in ((repositories, "_first_hosts"), (probing, "_working"), (overlay_probe, "_known")):
        monkeypatch.setattr(module, known, {})


@pytest.fixture(autouse=True)
def workspaces() -> Iterator[None]:
    """Tests leave their workspaces as they are at the end, and have hosts that know the commits of `make_origin`."""
    with while_furnishing():
        yield
    dispose_of_prepared()
