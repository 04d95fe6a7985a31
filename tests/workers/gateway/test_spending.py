"""Sessions whose model is called through the gateway: what they used, and how they end when the budget is used up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.model_servers import ModelServer, directive
from tests.workers.attempts import Engine, code, engine_in
from tests.workers.engine import USUAL_SANDBOX
from tests.workers.gateway.agents import Caller, ask
from workers.agents.registry import AGENTS
from workers.agents.scripted import ScriptedAgent
from workers.agents.shell import SCRIPT
from workers.egress.gateway.process import Ended, Limited
from workers.errors import EngineError
from workers.events import Refusal, Step, Takeover, Usage
from workers.job import Fallback, Limits
from workers.limits.budget import Budget
from workers.limits.prices import Prices
from workers.limits.spending import Spending
from workers.sandbox import Place

# gpt-5 costs 1.25 $ for a million tokens of input, 0.125 $ where they are cached, and 10 $ for a million of output.
LARGE = directive("usage", 1_000_050, 100_000)
LARGE_COST = 1.25 + 50 * 0.125e-6 + 1.0
GAVE_UP = EngineError("agent_failed", "agent", "It gave up.")


@pytest.fixture(params=USUAL_SANDBOX)
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setitem(AGENTS, "shell", Caller)
    with engine_in(tmp_path, request.param) as made:
        yield made


def test_a_session_ends_with_the_call_that_uses_up_its_budget(engine: Engine, model: ModelServer) -> None:
    asked = len(model.requests)
    attempt = engine.run(
        f"echo kept > new.txt; for call in 1 2 3 4 5 6 7 8; do {ask('gpt-5', LARGE)} || true; done; sleep 60",
        environment=model.environment(),
        limits=Limits(max_cost_usd=10),
    )
    calls = len(model.requests) - asked
    assert calls == 5, "the fifth call exceeds 10 $, and is the last"
    assert code(attempt.outcome) == ("budget_limit", "agent")
    usage = attempt.outcome.usage
    assert usage and usage.cost_usd == pytest.approx(calls * LARGE_COST, rel=0.01)
    assert (usage.input_tokens, usage.output_tokens) == (calls * 1_000_050, calls * 100_000)
    assert "+kept" in engine.diff
    warned = [event.message for event in attempt.events if isinstance(event, Step) and "budget" in event.title]
    # It says what is used when it is read, by which time the last call may have been counted, too.
    assert len(warned) == 1 and warned[0] in ("9 of 10 US dollars are used.", "11.25 of 10 US dollars are used.")


def test_tokens_are_limited_in_the_same_way(engine: Engine, model: ModelServer) -> None:
    asked = len(model.requests)
    script = f"while {ask()}; do true; done; sleep 60"
    attempt = engine.run(script, environment=model.environment(), limits=Limits(max_tokens=300))
    assert code(attempt.outcome) == ("budget_limit", "agent")
    assert len(model.requests) - asked == 3
    assert attempt.outcome.usage and attempt.outcome.usage.input_tokens == 300


def test_what_an_earlier_attempt_used_counts() -> None:
    budget = Budget(Limits(max_tokens=300, max_cost_usd=2), Usage(200, 50, 0, None, 1))
    assert not budget.is_exceeded(Usage(50, 0)) and budget.is_exceeded(Usage(50, 1))
    assert budget.total(Usage(50, 0, 10, 1.0)) == Usage(250, 50, 10, None, 1), "what is not known stays unknown"


def test_the_usage_of_a_session_is_what_was_counted_and_a_refused_request_is_a_step(
    engine: Engine, model: ModelServer
) -> None:
    script = f"curl -sS $OPENAI_BASE_URL/files; {ask()}; {ask()}"
    attempt = engine.run(script, environment=model.environment())
    assert attempt.outcome.failure is None
    expected = Usage(200, 50, 100, pytest.approx(2 * (50 * 1.25e-6 + 50 * 0.125e-6 + 25 * 10e-6)), None)
    assert attempt.outcome.usage == expected
    assert [event for event in attempt.events if isinstance(event, Usage)][-1] == expected
    (refusal,) = [event for event in attempt.events if isinstance(event, Refusal)]
    assert refusal.title == "Model gateway: GET /openai/v1/files was refused" and "token" in refusal.message


def test_what_an_unknown_model_costs_stays_unknown(engine: Engine, model: ModelServer) -> None:
    script = f"{ask('nobody-knows-it')}; {ask('nobody-knows-it')}; {ask()}"
    attempt = engine.run(script, environment=model.environment(), limits=Limits(max_cost_usd=10))
    assert attempt.outcome.failure is None
    assert attempt.outcome.usage and attempt.outcome.usage.cost_usd is None
    said = [event.message for event in attempt.events if isinstance(event, Step) and "cost" in event.title]
    assert len(said) == 1 and "nobody-knows-it" in said[0]


def test_the_operator_can_replace_the_prices(engine: Engine, model: ModelServer, tmp_path: Path) -> None:
    prices = {"input_mtok": 2, "output_mtok": 4}
    named = {"id": "nobody-knows-it", "match": {"equals": "nobody-knows-it"}, "prices": prices}
    mine = {"id": "mine", "name": "Mine", "api_pattern": "http://127\\.0\\.0\\.1.*", "models": [named]}
    file = tmp_path / "prices.json"
    file.write_text(json.dumps([mine]))
    engine.host = replace(engine.host, prices_file=file)
    attempt = engine.run(ask("nobody-knows-it"), environment=model.environment())
    assert attempt.outcome.usage and attempt.outcome.usage.cost_usd == pytest.approx(100 * 2e-6 + 25 * 4e-6)


REFUSALS = {401: "agent_auth", 402: "quota", 429: "agent_rate_limited", 503: "model_unavailable"}


def test_a_refusal_of_the_provider_is_the_failure(engine: Engine, model: ModelServer) -> None:
    for status, expected in REFUSALS.items():
        spending = Spending(Budget(Limits()), Prices(None), "OPENAI_API_KEY")
        spending.count(Limited(status, exhausted=status == 402, reset_at=None, message=""))
        explained = spending.explain(GAVE_UP)
        assert explained and (explained.code, explained.retryable) == (expected, status != 401), status
    # A session in which nobody can take over.
    script, fallbacks = ask("gpt-5", directive("status", 503)), (Fallback("not-there"),)
    attempt = engine.run(script, environment=model.environment(), fallbacks=fallbacks)
    assert code(attempt.outcome) == ("model_unavailable", "agent")
    assert attempt.outcome.failure and attempt.outcome.failure.retryable


def test_a_program_that_goes_on_with_a_refused_key_is_ended(engine: Engine, model: ModelServer) -> None:
    asked = len(model.requests)
    script = f"{ask()}; while true; do {ask('gpt-5', directive('status', 401))} || sleep 1; done"
    attempt = engine.run(script, environment=model.environment())
    assert code(attempt.outcome) == ("agent_auth", "agent") and "OPENAI_API_KEY" in str(attempt.outcome.failure)
    # A busy worker notices late.
    assert 4 <= len(model.requests) - asked <= 100


def test_a_program_that_goes_on_with_an_overloaded_model_is_ended(engine: Engine, model: ModelServer) -> None:
    asked = len(model.requests)
    engine.host = replace(engine.host, model_patience_seconds=0.1)
    script = f"while true; do {ask('gpt-5', directive('status', 529))} || sleep 0.2; done"
    attempt = engine.run(script, environment=model.environment())
    assert code(attempt.outcome) == ("model_unavailable", "agent") and "HTTP 529" in str(attempt.outcome.failure)
    assert len(model.requests) - asked >= 3


TURN, TURN_BROKE = (Ended("gpt-5", None, complete=each, offers_tools=True) for each in (True, False))
TITLE, TITLE_BROKE = (Ended("gpt-5", None, complete=each, offers_tools=False) for each in (True, False))
OVERLOADED = Limited(529, exhausted=False, reset_at=None, message="Overloaded")


@pytest.mark.parametrize(
    ("reports", "failure", "expected"),
    [
        pytest.param([TURN, TITLE_BROKE], None, None, id="a title breaks off last"),
        pytest.param([TITLE_BROKE, TURN], None, None, id="a title breaks off first"),
        pytest.param([TURN_BROKE, TITLE], None, "agent_failed", id="a title follows a broken turn"),
        pytest.param([TURN_BROKE, TITLE], GAVE_UP, "model_unavailable", id="it gives up after a title"),
        pytest.param([TITLE_BROKE], None, "agent_failed", id="no call offers tools"),
        pytest.param([TURN, TURN_BROKE], GAVE_UP, "model_unavailable", id="it gives up"),
        pytest.param([TURN, TURN_BROKE, TURN_BROKE], None, "agent_failed", id="two break off in a row"),
        pytest.param([TURN, *[TURN_BROKE] * 3], None, "model_unavailable", id="three break off in a row"),
        pytest.param([OVERLOADED, TURN_BROKE], None, "model_unavailable", id="an overloaded server says so"),
        pytest.param([TURN, OVERLOADED, TITLE_BROKE], None, None, id="it says so of a title"),
        pytest.param([TURN], GAVE_UP, "agent_failed", id="it fails for itself"),
    ],
)
def test_a_broken_answer_of_the_conversation_counts(
    reports: list[Ended | Limited], failure: EngineError | None, expected: str | None
) -> None:
    spending = Spending(Budget(Limits()), Prices(None), "OPENAI_API_KEY")
    for each in reports:
        spending.count(each)
    explained = spending.explain(failure)
    assert (explained.code if explained else None) == expected


def test_a_program_that_calls_again_after_an_answer_broke_off_succeeds(engine: Engine, model: ModelServer) -> None:
    attempt = engine.run(f"{ask('gpt-5', directive('end'))} || {ask()}", environment=model.environment())
    assert attempt.outcome.failure is None
    assert attempt.steps.count("The model's answer broke off") == 1


def test_a_program_that_goes_on_while_all_answers_break_off_is_ended(engine: Engine, model: ModelServer) -> None:
    asked = len(model.requests)
    script = f"while true; do {ask('gpt-5', directive('end'))} || sleep 0.2; done"
    attempt = engine.run(script, environment=model.environment())
    assert code(attempt.outcome) == ("model_unavailable", "agent") and "broke off" in str(attempt.outcome.failure)
    # A busy worker notices late.
    assert 10 <= len(model.requests) - asked <= 60


@pytest.fixture
def talking(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent `scripted` has a model."""

    class Talking(Caller, ScriptedAgent):
        name = "scripted"

    monkeypatch.setitem(AGENTS, "scripted", Talking)


def test_an_agent_that_refuses_its_own_conversation_leaves_a_summary_all_the_same(
    engine: Engine, model: ModelServer, talking: None
) -> None:
    kept = "$HOME/.agent-runners/session"
    begins = f"""mkdir -p {kept}; touch {kept}/one; echo '{{"type": "session", "id": "one"}}'"""
    large = f"{ask('gpt-5', directive('usage', 900, 20))}; sleep 300"
    last = f"if [ -e {kept}/one ]; then exit 1; fi; {ask()}"
    script = f"if grep -q 'short summary'; then {last}; else {begins}; {large}; fi"
    limits = Limits(max_tokens=1100, wrap_up_at=0.8)
    attempt = engine.run(script, agent="scripted", environment=model.environment(), limits=limits)
    assert code(attempt.outcome) == ("budget_limit", "agent")
    assert "The agent is asked for a summary" in attempt.steps and "The summary is not complete" not in attempt.steps
    assert attempt.outcome.usage and attempt.outcome.usage.input_tokens == 1000


def test_a_summary_is_counted_with_what_came_before(engine: Engine, model: ModelServer, talking: None) -> None:
    large = ask("gpt-5", directive("usage", 900, 20))
    script = f"if grep -q 'short summary'; then {ask()}; else {large}; sleep 300; fi"
    limits = Limits(max_tokens=1100, wrap_up_at=0.8)
    attempt = engine.run(script, agent="scripted", environment=model.environment(), limits=limits)
    assert code(attempt.outcome) == ("budget_limit", "agent")
    assert "The agent is asked for a summary" in attempt.steps and "The summary is not complete" not in attempt.steps
    usage = attempt.outcome.usage
    assert usage and (usage.input_tokens, usage.output_tokens) == (1000, 45)


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another agent, whose own variable leads to the same model."""

    class Second(Caller):
        name = "second"
        provider = ("ANTHROPIC_BASE_URL", "https://api.anthropic.com")
        api = "anthropic"
        key = "ANTHROPIC_API_KEY"
        variables = ("ANTHROPIC_",)
        converses = True

        def files(self, place: Place) -> dict[str, bytes]:
            script = 'cat ~/received.txt; env | cut -d= -f1; echo "and more" >> new.txt'
            return {SCRIPT: script.encode(), "received.txt": self.job.prompt.encode()}

    monkeypatch.setitem(AGENTS, "second", Second)


# What a provider says of itself in other ways leads to the same failures.
@pytest.mark.parametrize("ends", [directive("status", 402), directive("end")])
def test_another_agent_goes_on_where_the_model_takes_no_calls(
    engine: Engine, model: ModelServer, second: None, ends: str
) -> None:
    script = f"echo kept > new.txt; echo I wrote it; {ask('gpt-5', ends)}"
    fallbacks = (Fallback("not-there"), Fallback("second"))
    attempt = engine.run(script, environment=model.environment(), fallbacks=fallbacks)
    assert attempt.outcome.failure is None, attempt.text
    assert "+kept\n+and more" in engine.diff, attempt.text
    assert [each for each in attempt.events if isinstance(each, Takeover)] == [Takeover("second")]
    assert "not-there cannot take over" in attempt.steps and "second takes over from shell" in attempt.steps
    assert "Another agent, shell, began" in attempt.text and "- I wrote it" in attempt.text
    assert "ANTHROPIC_API_KEY" in attempt.text and "\\nOPENAI_API_KEY" not in attempt.text


def test_an_answer_that_breaks_off_fails_a_program_that_does_not_notice_and_no_other_agent_goes_on(
    engine: Engine, model: ModelServer, second: None
) -> None:
    script = f"echo kept > new.txt; {ask('gpt-5', directive('end'))} || true"
    attempt = engine.run(script, environment=model.environment(), fallbacks=(Fallback("second"),))
    assert code(attempt.outcome) == ("agent_failed", "agent")
    failure = attempt.outcome.failure
    assert failure and failure.retryable and "broke off" in failure.message
    assert attempt.steps.count("The model's answer broke off") == 1
    assert "+kept" in engine.diff and "+and more" not in engine.diff
