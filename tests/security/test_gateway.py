"""An agent that searches everything it can see for the key of its model finds its token, and nothing else."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from pathlib import Path

import pytest

from tests.model_servers import model_server
from tests.processes import forked_for
from tests.security.ordinary_user import needs_root, run_again
from tests.workers.attempts import Attempt, engine_in
from tests.workers.engine import IS_ROOT, linux, needs_bubblewrap
from tests.workers.gateway.agents import Caller, Trusting, ask
from workers.agents.registry import AGENTS
from workers.egress.gateway.process import PORT
from workers.events import Event, Usage

pytestmark = [linux, needs_bubblewrap]
SEARCH = Path(__file__).with_name("search.py").read_text()
TOKEN = re.compile(r"OPENAI_API_KEY=(\S+)")


@pytest.fixture
def key() -> str:
    return f"canary-model-{secrets.token_hex(16)}"


def search(folder: Path, agent: type[Caller], key: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Attempt, str]:
    """Have an agent call its model and look for the key. Returns the attempt, and what the gateway's memory showed."""
    monkeypatch.setitem(AGENTS, "shell", agent)
    peeked: list[str] = []

    def peek(event: Event) -> None:
        if isinstance(event, Usage):
            peeked.extend(_peek(pid) for pid in forked_for([os.getpid()], "model-gateway"))

    with model_server(key) as model, engine_in(folder, "bubblewrap", [("search.py", SEARCH)]) as engine:
        script = f"{ask()}; echo; env; python3 search.py --port {PORT} --memory /workspace /home /tmp"
        attempt = engine.finish(engine.job(script, environment=model.environment()), peek)
    return attempt, "".join(peeked)


def _peek(pid: int) -> str:
    """What a process of the gateway's own user can see of it."""
    status = Path(f"/proc/{pid}/status").read_text()
    (user,) = re.findall(r"^Uid:\s+(\d+)", status, re.MULTILINE)
    same = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if IS_ROOT else []
    seen = subprocess.run([*same, "cat", f"/proc/{pid}/environ", f"/proc/{pid}/maps"], capture_output=True, text=True)
    return f"user {user}: {seen.stdout}{seen.stderr}"


def test_the_key_is_nowhere_that_the_agent_can_see(tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt, peeked = search(tmp_path, Caller, key, monkeypatch)
    assert attempt.outcome.failure is None, attempt.text
    assert "looked at {" in attempt.text and "Done: the change is in place." in attempt.text
    assert "FOUND" not in attempt.text and key not in attempt.text
    token = TOKEN.search(attempt.text)
    assert token and token[1] != key and "canary" not in token[1]
    # Nor for another process of the user that it runs as, who is not the agents'.
    assert peeked.count("Permission denied") >= 2 and "canary" not in peeked
    assert not IS_ROOT or "user 61001" in peeked


def test_the_same_search_finds_the_key_of_an_agent_that_has_it(
    tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above is known to be able to fail."""
    attempt, _ = search(tmp_path, Trusting, key, monkeypatch)
    assert f"FOUND environment {key[::-1]}" in attempt.text


@needs_root
def test_it_is_the_same_where_agent_and_worker_are_one_user() -> None:
    """All tests above, with a worker that is not root."""
    run_again(__file__)
