"""Sessions and their model: one that waits for its quota goes on, and the key of a team is used."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from app import artifacts, db
from app.models import AgentRunnerSession, Site
from app.models.states import OnQuota, Scope, SessionState
from app.services import callers
from app.services.variables import variables
from tasks.jobs import co_authors
from tasks.jobs.people import People
from tasks.sessions import run_session
from tests.model_servers import ModelServer, directive, model_server
from tests.tasks.conftest import read
from tests.tasks.test_conversations import IN_WORDS, RESUMED, follow, message_of
from tests.workers.gateway.agents import Caller
from tests.workers.gateway.agents import ask as call
from workers.agents.registry import AGENTS
from workers.agents.scripted import ScriptedAgent

SCRIPT = f"""
if [ ! -e a.new ]; then
  echo '{{"type": "session", "id": "mine"}}'; mkdir -p ~/.agent-runners/session
  echo blue > ~/.agent-runners/session/colour
  echo kept > a.new; {call()}; {call("gpt-5", directive("status", 402))}
fi
echo more >> a.new; {call()} > /dev/null
echo "{{\\"type\\": \\"result\\", \\"text\\": \\"$(cat ~/.agent-runners/session/colour) $(cat)\\"}}"
"""


class Conversing(ScriptedAgent):
    """A scripted agent that has a model and remembers."""

    api, key, provider, variables = Caller.api, Caller.key, Caller.provider, Caller.variables


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, configure: Callable[..., None]) -> Iterator[ModelServer]:
    configure(AGENTS="scripted")
    monkeypatch.setitem(AGENTS, "scripted", Conversing)
    with model_server() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        yield running


def change(table: type[Site] | type[AgentRunnerSession], **values: object) -> None:
    with db.transaction():
        db.session.execute(sa.update(table).values(**values))


def test_a_session_goes_on_after_the_wait(ask: Callable[..., uuid.UUID], model: ModelServer) -> None:
    session_id = ask(SCRIPT, agent="scripted", limits={"max_tokens": 400})
    change(Site, on_quota=OnQuota.WAIT)
    run_session(str(session_id))
    waits = read(session_id)
    assert waits.state == SessionState.NEW and waits.waiting_until and waits.has_cumulative_diff
    assert "Stop it if you do not want to wait" in str(message_of(session_id, "Waiting for the model"))
    run_session(str(session_id))
    assert read(session_id).attempt == 1, "nobody runs it before"
    change(AgentRunnerSession, waiting_until=datetime.datetime.now(datetime.UTC))
    run_session(str(session_id))
    done = read(session_id)
    assert (done.state, done.attempt, done.failure) == (SessionState.DONE, 2, None)
    assert done.result and done.result.startswith("blue You began the task below")
    assert message_of(session_id, RESUMED) and not message_of(session_id, IN_WORDS)
    assert done.usage and done.usage["input_tokens"] == 200, "one call of each attempt"
    assert done.result_diff_key and b"+kept\n+more" in b"".join(artifacts.store().read(done.result_diff_key))


def test_another_agent_goes_on_and_what_follows_says_which(
    ask: Callable[..., uuid.UUID], model: ModelServer, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(AGENTS="shell,scripted")
    monkeypatch.setitem(AGENTS, "shell", Caller)
    refused = call("gpt-5", directive("status", 402))
    session_id = ask(f"if [ ! -e a.new ]; then echo kept > a.new; {refused}; fi; echo more >> a.new", agent="scripted")
    change(Site, fallback_agents=["shell:gpt-5"])
    run_session(str(session_id))
    done = read(session_id)
    assert (done.state, done.failure, done.agent) == (SessionState.DONE, None, "scripted")
    assert done.taken_over_by == {"agent": "shell", "model": "gpt-5"}
    made_by = co_authors.trailers([done], done.user, People(Site(repo_url="https://example.org/a.git"))).splitlines()
    assert [line.partition(" <")[0] for line in made_by] == ["Co-authored-by: scripted", "Co-authored-by: shell"]
    later = read(follow(session_id, "cat > received"))
    assert (later.agent, later.taken_over_by) == ("scripted", None)
    assert "shell took over in the session before." in str(message_of(later.id, IN_WORDS))
    assert later.result_diff_key
    received = b"".join(artifacts.store().read(later.result_diff_key))
    assert b"A session with scripted, which shell took over, was done." in received


def test_the_key_of_a_team_is_used_and_no_key_is_seen(
    ask: Callable[..., uuid.UUID], model: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-operator-0123456789")
    session_id = ask(f"{call()}; env > seen", agent="scripted")
    owner = read(session_id)
    caller = callers.Caller(owner.account_id, owner.user_id, uuid.uuid4(), Scope.ADMIN)
    with db.transaction():
        variables.create(caller, owner.site_id, "OPENAI_API_KEY", variables.VariableFields(value=model.key))
    run_session(str(session_id))
    done = read(session_id)
    assert done.state == SessionState.DONE and [each.key for each in model.requests] == [model.key]
    assert done.result_diff_key and not done.contains_secret
    seen = b"".join(artifacts.store().read(done.result_diff_key)).decode()
    assert "+OPENAI_API_KEY=" in seen and model.key not in seen and "of-the-operator" not in seen
