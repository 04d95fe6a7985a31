"""Which providers the gateway takes the place of: what it gets of an agent's variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workers.engine import job
from workers.agents.registry import open_agent
from workers.egress.gateway.providers import Provider

OPENAI, ANTHROPIC = "https://api.openai.com/v1", "https://api.anthropic.com"
MINE = "http://models.example:8000/v1"


@pytest.mark.parametrize(
    ("agent", "variables", "expected"),
    [
        ("claude", {"ANTHROPIC_API_KEY": "k"}, [("anthropic", ANTHROPIC, {"ANTHROPIC_API_KEY": "k"})]),
        ("claude", {"ANTHROPIC_AUTH_TOKEN": "t"}, [("anthropic", ANTHROPIC, {"ANTHROPIC_AUTH_TOKEN": "t"})]),
        ("claude", {"ANTHROPIC_BASE_URL": MINE}, [("anthropic", MINE, {"ANTHROPIC_API_KEY": ""})]),
        # A subscription works with its own server only, and so do programs that say themselves what is missing.
        ("claude", {"CLAUDE_CODE_OAUTH_TOKEN": "t"}, []),
        ("claude", {"CLAUDE_CODE_OAUTH_TOKEN": "t", "ANTHROPIC_BASE_URL": MINE}, []),
        ("claude", {}, []),
        ("claude", {"OPENAI_API_KEY": "k"}, []),
        ("codex", {"OPENAI_API_KEY": "k"}, [("openai", OPENAI, {"OPENAI_API_KEY": "k"})]),
        ("codex", {"CODEX_API_KEY": "k", "OPENAI_BASE_URL": MINE}, [("openai", MINE, {"CODEX_API_KEY": "k"})]),
        ("qwen", {"OPENAI_BASE_URL": MINE}, [("openai", MINE, {"OPENAI_API_KEY": ""})]),
        ("copilot", {"COPILOT_PROVIDER_API_KEY": "k"}, [("openai", OPENAI, {"COPILOT_PROVIDER_API_KEY": "k"})]),
        ("shell", {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": MINE}, []),
        # Any agent may be behind ACP. Only a URL that the operator sets shows that it can be led elsewhere.
        ("mine", {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "a"}, []),
        (
            "mine",
            {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": MINE, "ANTHROPIC_BASE_URL": ANTHROPIC},
            [("anthropic", ANTHROPIC, {"ANTHROPIC_API_KEY": ""}), ("openai", MINE, {"OPENAI_API_KEY": "k"})],
        ),
    ],
)
def test_the_gateway_stands_in_for_what_an_agent_can_be_pointed_away_from(
    programs: Path, agent: str, variables: dict[str, str], expected: list[tuple[str, str, dict[str, str]]]
) -> None:
    opened = open_agent(job(agent=agent, model="m", environment=variables), (("mine", ("gemini", "--acp")),))
    found = [(each.api, each.url, dict(each.keys)) for each in opened.providers]
    assert found == expected


def test_each_provider_of_an_agent_has_a_path_of_its_own() -> None:
    paths = {
        name: Provider("openai", name, MINE, {}).prefix for name in ("OPENAI_BASE_URL", "COPILOT_PROVIDER_BASE_URL")
    }
    assert paths == {"OPENAI_BASE_URL": "/openai/v1", "COPILOT_PROVIDER_BASE_URL": "/copilot-provider/v1"}
