"""The agents themselves: each works on a real repository, against a model that does as the prompt says."""

from __future__ import annotations

import dataclasses
import logging
import sys
from pathlib import Path

import pytest

from tests.agents.real import ALWAYS, EDIT, EVERY_AGENT, ROWS, SANDBOXED, WITHOUT_SANDBOX, Real
from tests.model_servers import KEY, directive
from tests.model_servers.script import FINAL
from tests.processes import each_process
from tests.workers.attempts import code
from tests.workers.engine import eventually, job, linux, sigterm_once, sigterm_raises
from workers.attempt import run
from workers.job import Event, Host, Limits, Usage

every_agent_in_both_sandboxes = pytest.mark.parametrize("real", [*EVERY_AGENT, *WITHOUT_SANDBOX], indirect=True)
every_agent = pytest.mark.parametrize("real", EVERY_AGENT, indirect=True)
sandboxed = pytest.mark.parametrize("real", SANDBOXED, indirect=True)
claude_sandboxed = pytest.mark.parametrize("real", [each for each in SANDBOXED if each.id == "claude"], indirect=True)
CHANGE = "-    return a - b\n+    return a + b\n"
NOTE = directive("write", "new.txt", "kept\n")


@every_agent_in_both_sandboxes
def test_a_prompt_becomes_a_real_edit(real: Real) -> None:
    attempt = real.run(*EDIT, NOTE)
    assert attempt.outcome.failure is None
    assert CHANGE in real.engine.diff and "+kept" in real.engine.diff
    assert (attempt.outcome.result, attempt.steps[-1]) == (FINAL, FINAL)
    assert any("calc.py" in step for step in attempt.steps) and any("new.txt" in step for step in attempt.steps)
    usage = attempt.outcome.usage
    row = ROWS[real.agent]
    assert usage and usage.tool_calls == 3 + row.final_calls
    assert usage.output_tokens == (4 * 25 if row.counts_tokens else None)
    assert usage in [event for event in attempt.events if isinstance(event, Usage)]


@sandboxed
def test_a_prompt_that_begins_like_a_command_of_the_program_is_text(real: Real) -> None:
    prompt = "/login page shows no button; mend it"
    attempt = real.engine.finish(dataclasses.replace(real.job(), prompt="\n".join((prompt, *EDIT))))
    assert attempt.outcome.failure is None
    assert CHANGE in real.engine.diff
    assert prompt in str(real.model.requests[0].body)


@claude_sandboxed
def test_a_budget_ends_the_program(real: Real) -> None:
    cheap = real.run(*EDIT, limits=Limits(max_cost_usd=0.001))
    assert cheap.outcome.failure and cheap.outcome.failure.code == "budget_limit"
    assert cheap.outcome.usage and cheap.outcome.usage.cost_usd
    # Each answer of this model is 175 tokens; the third one only says that the edit is done.
    short = real.run(*EDIT, limits=Limits(max_tokens=400))
    assert short.outcome.failure and short.outcome.failure.code == "budget_limit"
    assert CHANGE in real.engine.diff


@sandboxed
def test_a_command_runs_in_the_checkout(real: Real) -> None:
    attempt = real.run(directive("run", "sed s/-/+/ calc.py > sum.py && pwd > where.txt"))
    assert attempt.outcome.failure is None
    assert "+    return a + b" in real.engine.diff and "+/workspace" in real.engine.diff
    assert any("sed s/-/+/" in step for step in attempt.steps)


@sandboxed
def test_a_follow_up_builds_on_what_was_done(real: Real) -> None:
    base = real.run(*EDIT).outcome.base_sha
    so_far = real.engine.sink.diffs["cumulative"]
    attempt = real.run(
        directive("read", "calc.py"),
        directive("edit", "calc.py", "    return a + b", "    return b + a"),
        base_sha=base,
        start_diff=lambda: iter([so_far]),
    )
    assert attempt.outcome.failure is None
    assert "-    return a + b\n+    return b + a\n" in real.engine.diff
    assert "-    return a - b\n+    return b + a\n" in real.engine.sink.diffs["cumulative"].decode()


@pytest.mark.parametrize("real", [*SANDBOXED, *WITHOUT_SANDBOX], indirect=True)
def test_a_question_is_answered_and_changes_nothing(real: Real) -> None:
    attempt = real.run(*EDIT, mode="ask")
    assert (attempt.outcome.failure, attempt.outcome.result) == (None, FINAL)
    assert not attempt.outcome.has_result_diff and real.engine.sink.diffs == {}
    assert "change no files" in str(real.model.requests[0].body)


@sandboxed
def test_the_model_and_the_effort_are_those_of_the_session(real: Real) -> None:
    name = {"codex": "gpt-6-luna", "claude": "claude-sonnet-4-6"}.get(real.agent, "gemini-2.5-pro")
    assert real.run(model=name, effort="high").outcome.failure is None
    asked = real.model.requests[-1]
    assert name in (asked.body.get("model"), asked.path.rpartition("/")[2].partition(":")[0])
    assert real.agent not in ALWAYS or "'effort': 'high'" in str(asked.body)


@linux
@every_agent_in_both_sandboxes
def test_a_stop_in_mid_run_keeps_the_work_and_leaves_no_process(real: Real) -> None:
    with sigterm_raises():
        waiter = sigterm_once(lambda: real.waits() and bool(real.programs()))
        attempt = real.run(NOTE, directive("sleep", 300))
        waiter.join()
    assert attempt.outcome.interrupted
    assert "+kept" in real.engine.diff
    eventually(lambda: not real.processes(), "the agent survived")


@pytest.mark.parametrize("agent", ["codex", "gemini"])
def test_a_missing_program_is_reported_with_how_to_install_it(
    agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    with pytest.raises(StopIteration) as stop:
        next(run(job(agent=agent), Host(tmp_path)))
    assert code(stop.value.value) == ("agent_not_installed", "agent")
    assert f"bin/install-agents {agent}" in str(stop.value.value.failure)


@every_agent
def test_a_wrong_key_is_refused_soon_and_reported_with_advice(real: Real) -> None:
    keys = real.model.environment("sk-wrong-9876543210")
    attempt = real.run(*EDIT, variables=keys)
    assert len(real.model.requests) < 10, "it goes on with a key that is refused"
    assert code(attempt.outcome) == ("agent_auth", "agent")
    assert "_API_KEY" in str(attempt.outcome.failure)
    assert "sk-wrong" not in attempt.text


# Qwen Code tries again for minutes.
@pytest.mark.parametrize("real", [each for each in SANDBOXED if each.id != "qwen"], indirect=True)
def test_too_many_requests_have_a_code_of_their_own(real: Real) -> None:
    failure = real.run(directive("status", 429), variables={"CLAUDE_CODE_MAX_RETRIES": "1"}).outcome.failure
    assert failure and (failure.code, failure.retryable) == ("agent_rate_limited", True)


@pytest.mark.parametrize("real", [each for each in SANDBOXED if each.id in ("claude", "gemini", "qwen")], indirect=True)
def test_an_answer_that_breaks_off_is_a_failure_and_keeps_the_work(real: Real) -> None:
    attempt = real.run(NOTE, directive("end"))
    assert code(attempt.outcome) == ("agent_failed", "agent")
    assert "+kept" in real.engine.diff


@linux
@sandboxed
def test_an_agent_that_is_killed_has_crashed_and_its_work_is_kept(real: Real) -> None:
    real.once_it_waits(real.kill)
    attempt = real.run(NOTE, directive("sleep", 300))
    assert code(attempt.outcome) == ("agent_crashed", "agent")
    assert "+kept" in real.engine.diff


@linux
@sandboxed
def test_a_model_that_falls_silent_stalls_the_agent(real: Real) -> None:
    attempt = real.run(NOTE, directive("hang"), limits=Limits(stall_seconds=15))
    assert code(attempt.outcome) == ("stalled", "agent")
    assert "+kept" in real.engine.diff
    eventually(lambda: not real.processes(), "the agent survived")


@linux
@sandboxed
def test_a_long_prompt_arrives_and_no_key_is_seen_anywhere(real: Real, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen: list[str] = []

    def on_event(event: Event) -> None:
        for _, line in each_process("cmdline"):
            words = line.decode(errors="replace")
            if KEY in words or "Mend the calculator" in words:
                seen.append(words)

    attempt = real.engine.finish(real.job("x" * 400_000, *EDIT, directive("run", "env; false")), on_event)
    assert attempt.outcome.failure is None
    assert CHANGE in real.engine.diff
    assert "x" * 400_000 in str(real.model.requests[0].body)
    assert {request.key for request in real.model.requests} == {KEY}
    assert seen == []
    assert KEY not in attempt.text + caplog.text + str(real.engine.sink.diffs)
