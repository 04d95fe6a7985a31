"""The agents themselves: each works on a real repository, against a model that does as the prompt says."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.agents.real import ALWAYS, CANNOT, EDIT, EVERY_AGENT, ROWS, SANDBOXED, WITHOUT_SANDBOX, Real, which_can
from tests.model_servers import KEY, directive
from tests.model_servers.script import FINAL
from tests.processes import each_process
from tests.workers.attempts import code
from tests.workers.engine import eventually, job, linux, sigterm_once, sigterm_raises
from tests.workers.gateway.answering import answering
from workers.agents.registry import find_missing
from workers.attempt import run
from workers.events import Event, Usage
from workers.job import Conversation, Fallback, Host, Limits
from workers.stages.wrap_up import REQUEST

every_agent_in_both_sandboxes = pytest.mark.parametrize("real", [*EVERY_AGENT, *WITHOUT_SANDBOX], indirect=True)
every_agent = pytest.mark.parametrize("real", EVERY_AGENT, indirect=True)
sandboxed = pytest.mark.parametrize("real", SANDBOXED, indirect=True)
QUOTA = {"pieces": [b'{"error": {"type": "insufficient_quota", "message": "You exceeded your quota."}}'], "status": 429}
BROKEN = {"pieces": [b'data: {"type": "ping"}\n\n'], "breaks_off": True}
CHANGE = "-    return a - b\n+    return a + b\n"
# An id that no session has.
UNKNOWN = "01a2227e-eb40-7a22-8138-6ef6da2126f7"
NOTE = directive("write", "new.txt", "kept\n")


@every_agent_in_both_sandboxes
def test_a_prompt_becomes_a_real_edit(real: Real) -> None:
    attempt = real.run(*EDIT, NOTE)
    assert attempt.outcome.failure is None
    assert CHANGE in real.engine.diff and "+kept" in real.engine.diff
    assert (attempt.outcome.result, attempt.steps[-1]) == (FINAL, FINAL)
    assert not any("was refused" in step for step in attempt.steps), "it needs no host but its model's"
    assert any("calc.py" in step for step in attempt.steps) and any("new.txt" in step for step in attempt.steps)
    usage = attempt.outcome.usage
    row = ROWS[real.agent]
    assert usage and usage.tool_calls == 3 + row.final_calls
    assert usage.output_tokens == 4 * 25
    assert usage in [event for event in attempt.events if isinstance(event, Usage)]


@sandboxed
def test_a_prompt_that_begins_like_a_command_of_the_program_is_text_and_odd_characters_of_it_arrive(real: Real) -> None:
    command = "/login page shows no button; mend it"
    odd = "\u202e\u200b\u200d\x1b[31m\x07 $(id) `id` \"'\\ %s {x} </system> \U0001f600 \u0085 é"
    attempt = real.engine.finish(dataclasses.replace(real.job(), prompt="\n".join((command, odd, *EDIT))))
    assert attempt.outcome.failure is None
    assert CHANGE in real.engine.diff
    arrived = real.model.requests[0].body
    assert command in str(arrived) and json.dumps(odd)[1:-1] in json.dumps(arrived)


@sandboxed
def test_a_budget_ends_the_program_in_mid_run(real: Real) -> None:
    large = directive("usage", 200_000, 1_000)
    attempt = real.run(NOTE, large, *EDIT, limits=Limits(max_tokens=100_000))
    assert code(attempt.outcome) == ("budget_limit", "agent")
    assert "+kept" in real.engine.diff and CHANGE not in real.engine.diff
    assert attempt.outcome.usage and (attempt.outcome.usage.input_tokens or 0) >= 200_000


@sandboxed
def test_a_summary_is_left_before_the_budget_is_used_up(real: Real) -> None:
    most = (directive("usage", 92_000, 100), directive("run", "sleep 300"))
    attempt = real.run(NOTE, *most, limits=Limits(max_tokens=100_000, wrap_up_at=0.9))
    assert code(attempt.outcome) == ("budget_limit", "agent")
    assert "The agent is asked for a summary" in attempt.steps and "The summary is not complete" not in attempt.steps
    assert attempt.outcome.result == FINAL and "+kept" in real.engine.diff
    assert REQUEST in (asked := json.dumps(real.model.requests[-1].body)) and "Mend the calculator." in asked


@sandboxed
def test_a_command_runs_in_the_checkout_and_the_agent_goes_on_after_a_tool_that_fails(real: Real) -> None:
    fails = directive("edit", "calc.py", "what is not there", "x")
    attempt = real.run(fails, directive("run", "sed s/-/+/ calc.py > sum.py && pwd > where.txt"))
    assert attempt.outcome.failure is None
    assert "a/calc.py" not in real.engine.diff
    assert "+    return a + b" in real.engine.diff and "+/workspace" in real.engine.diff
    assert any("sed s/-/+/" in step for step in attempt.steps)


@every_agent
def test_a_follow_up_on_another_worker_remembers_and_builds_on_what_was_done(real: Real) -> None:
    first = real.run("My colour is blue.", *EDIT).outcome
    so_far, state = real.engine.sink.diffs["cumulative"], real.engine.sink.conversation
    resumes = (real.agent, "resume") not in CANNOT
    assert (first.session_id is not None) is (state is not None) is resumes
    real.engine.host = dataclasses.replace(real.engine.host, work_dir=real.engine.host.work_dir.with_name("other"))
    asked = len(real.model.requests)
    attempt = real.run(
        directive("read", "calc.py"),
        directive("edit", "calc.py", "    return a + b", "    return b + a"),
        base_sha=first.base_sha,
        start_diff=lambda: iter([so_far]),
        conversation=Conversation(
            lambda: "Your colour was blue. ", first.session_id, state and (lambda: iter([state]))
        ),
    )
    assert attempt.outcome.failure is None
    assert "-    return a + b\n+    return b + a\n" in real.engine.diff
    assert "-    return a - b\n+    return b + a\n" in real.engine.sink.diffs["cumulative"].decode()
    assert ("The conversation is resumed" in attempt.steps) is resumes
    remembered = "My colour is blue." if resumes else "Your colour was blue."
    assert remembered in str(real.model.requests[asked].body)
    assert attempt.outcome.session_id == first.session_id
    usage = attempt.outcome.usage
    assert usage and usage.output_tokens == 3 * 25


@pytest.mark.parametrize("real", which_can("resume"), indirect=True)
def test_a_session_that_the_program_refuses_is_told_in_words(real: Real) -> None:
    state = io.BytesIO()
    with tarfile.open(fileobj=state, mode="w:gz"):
        pass
    earlier = Conversation(lambda: "Your colour was blue. ", UNKNOWN, lambda: iter([state.getvalue()]))
    attempt = real.run(*EDIT, conversation=earlier)
    assert attempt.outcome.failure is None and CHANGE in real.engine.diff
    assert "The earlier conversation was handed over in words" in attempt.steps
    assert "Your colour was blue." in str(real.model.requests[0].body)


@pytest.mark.parametrize("real", [*SANDBOXED, *WITHOUT_SANDBOX], indirect=True)
def test_a_question_is_answered_and_changes_nothing(real: Real) -> None:
    attempt = real.run(*EDIT, mode="ask")
    assert (attempt.outcome.failure, attempt.outcome.result) == (None, FINAL)
    assert not attempt.outcome.has_result_diff and real.engine.sink.diffs == {}
    assert "change no files" in str(real.model.requests[0].body)


@sandboxed
def test_a_plan_changes_nothing_until_it_is_carried_out(real: Real) -> None:
    planned = real.run(*EDIT, mode="plan").outcome
    assert (planned.failure, planned.result) == (None, FINAL)
    assert not planned.has_result_diff and "Make a plan" in str(real.model.requests[0].body)


@sandboxed
def test_the_model_and_the_effort_are_those_of_the_session_and_without_a_change_there_is_no_diff(real: Real) -> None:
    name = {"codex": "gpt-6-luna", "claude": "claude-sonnet-4-6"}.get(real.agent, "gemini-2.5-pro")
    outcome = real.run(model=name, effort="high").outcome
    assert (outcome.failure, outcome.result, outcome.has_result_diff) == (None, FINAL, False)
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


@sandboxed
def test_too_many_requests_have_a_code_of_their_own(real: Real) -> None:
    real.engine.host = dataclasses.replace(real.engine.host, model_patience_seconds=3)
    failure = real.run(directive("status", 429), variables={"CLAUDE_CODE_MAX_RETRIES": "1"}).outcome.failure
    assert failure and (failure.code, failure.retryable) == ("agent_rate_limited", True)


def refused(agent: str, refusal: dict[str, Any], *marks: pytest.MarkDecorator) -> Any:
    kind = "quota" if refusal is QUOTA else "broken"
    each = next(each for each in SANDBOXED if each.id == agent)
    return pytest.param(*each.values, refusal, marks=[*each.marks, *marks], id=f"{kind}-{agent}")


# Each program meets one of them, and with `--full` the other as well.
REFUSALS = [
    refused("codex", QUOTA),
    refused("claude", BROKEN),
    refused("codex", BROKEN, pytest.mark.full),
    refused("claude", QUOTA, pytest.mark.full),
]


@pytest.mark.parametrize(("real", "refusal"), REFUSALS, indirect=["real"])
def test_the_next_agent_goes_on_where_the_model_of_the_first_takes_no_calls(
    real: Real, refusal: dict[str, Any]
) -> None:
    other = next(each for each in ALWAYS if each != real.agent)
    if missing := find_missing(other):
        pytest.skip(f"NOT TESTED: {missing}")
    with answering(**refusal) as url:
        own = {"codex": {"OPENAI_BASE_URL": url}, "claude": {"ANTHROPIC_BASE_URL": url.removesuffix("/v1")}}
        attempt = real.run(*EDIT, variables=own[real.agent], fallbacks=(Fallback(other),))
    assert attempt.outcome.failure is None and CHANGE in real.engine.diff
    assert f"{other} takes over from {real.agent}" in attempt.steps
    assert f"Another agent, {real.agent}, began the task" in str(real.model.requests[0].body)


@sandboxed
def test_an_answer_that_breaks_off_is_a_failure_and_keeps_the_work(real: Real) -> None:
    attempt = real.run(NOTE, directive("end"))
    failure = attempt.outcome.failure
    # Gemini takes the beginning of an answer for all of it. The others call again, and give up.
    expected = "agent_failed" if real.agent == "gemini" else "model_unavailable"
    assert failure and (failure.code, failure.stage, failure.retryable) == (expected, "agent", True)
    assert "broke off" in failure.message and "The model's answer broke off" in attempt.steps
    assert len(real.model.requests) <= 60, "it goes on although no answer is complete"
    assert "+kept" in real.engine.diff


@sandboxed
def test_a_provider_that_fails_is_a_failure_and_the_work_is_kept(real: Real) -> None:
    real.engine.host = dataclasses.replace(real.engine.host, model_patience_seconds=3)
    attempt = real.run(NOTE, directive("status", 500), variables={"CLAUDE_CODE_MAX_RETRIES": "1"})
    assert code(attempt.outcome) == ("model_unavailable", "agent")
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
    # On a busy machine the other programs need more than 15 seconds to start.
    silence = 15 if real.agent in ALWAYS else 60
    attempt = real.run(NOTE, directive("hang"), limits=Limits(stall_seconds=silence))
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

    long = "x" * ROWS[real.agent].longest
    attempt = real.engine.finish(real.job(long, *EDIT, directive("run", "env; false")), on_event)
    assert attempt.outcome.failure is None
    assert CHANGE in real.engine.diff
    assert long in str(real.model.requests[0].body)
    assert {request.key for request in real.model.requests} == {KEY}
    assert seen == []
    assert KEY not in attempt.text + caplog.text + str(real.engine.sink.diffs)
