"""An agent of another package, which an entry point adds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.attempts import engine_in
from tests.workers.engine import USUAL_SANDBOX, job
from workers.agents.registry import added_agents, find_missing, open_agent
from workers.errors import EngineError

MODULE = """
from workers.agents.scripted import ScriptedAgent

class GreetingAgent(ScriptedAgent):
    name = "greeting"

    def files(self, place):
        return {path: b"echo hello > greeting.txt\\n" for path in super().files(place)}

class OtherShell(ScriptedAgent):
    name = "other-shell"

    def command(self, place):
        return ["sh", "-c", "cat > heard.txt"]

    def files(self, place):
        return {}

class Nothing:
    pass
"""
ENTRIES = """[agent_runners.agents]
greeting = added_by_a_test:GreetingAgent
other-name = added_by_a_test:GreetingAgent
other-shell = added_by_a_test:OtherShell
nothing = added_by_a_test:Nothing
gone = no_such_module_of_a_test:Agent
"""


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with an agent."""
    folder = tmp_path / "site"
    about = folder / "added_by_a_test-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "added_by_a_test.py").write_text(MODULE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: added-by-a-test\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(folder))
    added_agents.cache_clear()
    yield
    added_agents.cache_clear()


def test_an_agent_of_another_package_runs(tmp_path: Path) -> None:
    assert find_missing("greeting") is None
    with engine_in(tmp_path, USUAL_SANDBOX) as engine:
        attempt = engine.run("anything", agent="greeting")
        assert attempt.outcome.failure is None
        assert "+hello" in engine.diff


def test_one_with_a_command_of_its_own_gets_no_script_on_its_standard_input(tmp_path: Path) -> None:
    with engine_in(tmp_path, USUAL_SANDBOX) as engine:
        attempt = engine.run("anything", agent="other-shell")
        assert attempt.outcome.failure is None
        assert "heard.txt" in engine.diff and "anything" not in engine.diff


def test_one_that_cannot_be_used_is_named_and_stops_no_other() -> None:
    assert set(added_agents()[0]) == {"greeting", "other-shell"}
    for name, reason in (("gone", "no_such_module"), ("nothing", "subclass"), ("other-name", "entry point")):
        assert reason in str(find_missing(name)) and "added-by-a-test" in str(find_missing(name))
        with pytest.raises(EngineError, match="cannot be used") as failure:
            open_agent(job(agent=name))
        assert failure.value.code == "agent_unknown"
    assert find_missing("shell") is None
