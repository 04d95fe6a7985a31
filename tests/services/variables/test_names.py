"""Which names variables may have, compared with what the engine depends on."""

from __future__ import annotations

import socket

import pytest

from app.errors import Invalid
from app.services.variables import names
from workers.agents.registry import AGENTS
from workers.egress.process import Egress
from workers.processes.forking import Forked
from workers.sandbox.base import Place, minimal_environment

PLACE = Place("/workspace", "/home/agent", "/tmp", "/attachments", isolated=True)


def urls() -> list[str]:
    return sorted({agent.provider[0] for agent in AGENTS.values() if agent.provider})


@pytest.mark.parametrize("name", urls())
def test_nobody_but_the_operator_says_where_a_model_is(name: str) -> None:
    """The operator's key would be sent there, and the sandbox would reach the host even at a private address."""
    with pytest.raises(Invalid, match="Only the operator"):
        names.check(name)


def test_keys_of_agents_may_be_set() -> None:
    for agent in AGENTS.values():
        if agent.key:
            names.check(agent.key)


def test_what_the_sandbox_sets_may_not_be_set() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        of_the_proxy = Egress({}, Forked(0, theirs), ours).variables("agent")
    for name in {**minimal_environment(PLACE, "/bin", ()), **of_the_proxy}:
        with pytest.raises(Invalid, match="Use another name"):
            names.check(name)
