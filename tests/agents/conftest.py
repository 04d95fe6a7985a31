"""The real programs, in a workspace with one small repository, against a model that does as the prompt says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.real import FILES, Real
from tests.model_servers import ModelServer, model_server
from tests.workers.attempts import engine_in


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


@pytest.fixture
def real(request: pytest.FixtureRequest, tmp_path: Path, model: ModelServer) -> Iterator[Real]:
    """One agent in one sandbox, named by one of the lists of `real`."""
    agent, sandbox = request.param
    with engine_in(tmp_path, sandbox, FILES) as engine:
        yield Real(engine, agent, model)
