"""Whole attempts: a repository, a sandbox, an agent, diffs; and every way in which they end."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import signal
import socket
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.bubblewrap import REFUSED, fake_bubblewrap
from tests.workers.attempts import Attempt, Engine, code
from tests.workers.engine import (
    IS_ROOT,
    Stubborn,
    eventually,
    linux,
    sigterm_once,
    sigterm_raises,
)
from workers import Interrupted
from workers.agents.registry import AGENTS
from workers.agents.shell import ShellAgent
from workers.attempt import run
from workers.errors import EngineError
from workers.events import BaseCommit, BudgetWarning, Event, Outcome, Progress, Step, Usage
from workers.job import Attachment, Host, Limits
from workers.processes.lifeline import Lifeline
from workers.processes.lines import Line

SECRET = "s3cret-key-of-the-model"
CREDENTIAL = "s3cret-token-of-the-forge"
CUT_WITHIN_A_SECRET = f"printf '%0990d' 0; echo {SECRET}"


def test_an_attempt_says_what_it_does_and_the_change_becomes_a_diff(engine: Engine) -> None:
    attempt = engine.run(
        "cat made-by-setup > copied; echo changed >> README; echo new > new; echo done",
        setup_command="echo ready > made-by-setup; echo set up",
        egress_hosts=("*.example.com",),
    )
    assert attempt.outcome.failure is None
    assert attempt.outcome.has_result_diff and attempt.outcome.has_cumulative_diff
    assert attempt.outcome.result == "done"
    assert "+changed" in engine.diff and "+new" in engine.diff
    assert "copied" in engine.diff and "made-by-setup" not in engine.diff, "what setup did is no part of it"
    sandbox, based, *_ = (event for event in attempt.events if not isinstance(event, Progress))
    assert isinstance(sandbox, Step) and sandbox.title == f"Sandbox: {engine.host.sandbox}"
    expected = "allows: *.example.com." if engine.host.sandbox == "bubblewrap" else "There is no sandbox"
    assert expected in sandbox.message
    assert based == BaseCommit(str(attempt.outcome.base_sha), "main")
    assert stages(attempt) == ["fetching", "preparing", "setup", "agent", "saving"]
    assert attempt.steps[1:3] == ["Setup", "set up"] and attempt.steps[-1] == "done"
    assert [event.title for event in attempt.events if isinstance(event, Step) and event.of_agent] == ["done"]


def stages(attempt: Attempt) -> list[str]:
    return [event.stage for event in attempt.events if isinstance(event, Progress)]


def test_a_script_that_fails_keeps_its_work(engine: Engine) -> None:
    attempt = engine.run("echo half > half; echo because of this; false; echo never")
    assert code(attempt.outcome) == ("agent_failed", "agent")
    assert "because of this" in str(attempt.outcome.failure)
    assert attempt.outcome.has_result_diff
    assert "+half" in engine.diff


def test_reports_of_the_scripted_agent_are_used_in_bounds_that_fit_any_database(engine: Engine) -> None:
    says = '{"type":"usage","input_tokens":7}', '{"type":"result","text":"R"}', '{"type":"title","text":"T"}'
    reports = "\n".join(f"echo '{line}'" for line in (*says, f'{{"type":"usage","cost_usd":{10**400}}}'))
    odd = r"""printf 'x%.0s' $(seq 1 70000); echo; printf 'a\000b\n'; echo '{"type":"step","title":"\ud800"}'"""
    attempt = engine.run(f"{reports}\n{odd}", agent="scripted")
    assert (attempt.outcome.failure, attempt.outcome.result, attempt.outcome.title) == (None, "R", "T")
    assert Usage(7) in attempt.events and attempt.outcome.usage == Usage(), "an enormous cost is no cost"
    assert (attempt.outcome.has_result_diff, engine.sink.diffs) == (False, {}), "it changed nothing"
    steps = [event for event in attempt.events if isinstance(event, Step)]
    assert len(steps) >= 3
    for event in steps:
        assert len(event.title) <= 200
        assert len(event.message.encode()) <= 16 * 1024
        assert "\0" not in event.title + event.message


def test_a_setup_that_fails_ends_the_attempt(engine: Engine) -> None:
    attempt = engine.run("echo never > never", setup_command="echo what is wrong; false; true")
    assert code(attempt.outcome) == ("setup_failed", "setup")
    assert "what is wrong" in str(attempt.outcome.failure)
    assert engine.sink.diffs == {}


def test_the_agent_has_its_files_its_variables_and_git_and_may_change_nothing(engine: Engine) -> None:
    commit = (
        "git init -q $TMPDIR/{0} && cd $TMPDIR/{0} && git commit -q --allow-empty -m x && git log --format='%an <%ae>'"
    )
    attempt = engine.run(
        # Printed at once, so that it is one step.
        'test "$KEY" = s3cret-key-of-the-model && user=$(stat -c %u . README .git $HOME | sort -u)\n'
        'printf "agent has it\\nof $user with $(git status --short; git log --oneline | wc -l)\\n"\n'
        + commit.format("two"),
        setup_command=f'test -z "$KEY" && echo setup has it not; {commit.format("one")}',
        environment={"KEY": SECRET},
    )
    assert attempt.outcome.failure is None
    confined = engine.host.sandbox == "bubblewrap" and IS_ROOT
    user = engine.host.sandbox_uid if confined else os.geteuid()
    said = [event.message or event.title for event in attempt.events if isinstance(event, Step) and event.of_agent]
    assert said[0].splitlines()[:2] == ["agent has it", f"of {user} with 1"] and "setup has it not" in attempt.steps
    assert attempt.outcome.result == "Agent <agent@localhost>"
    assert (attempt.outcome.has_result_diff, engine.sink.diffs) == (False, {})


def test_secrets_are_redacted_wherever_they_turn_up_and_lines_that_are_cut_within_them(engine: Engine) -> None:
    says = 'echo \'{"type":"result","text":"%s"}\'; echo \'{"type":"title","text":"%s"}\'; echo $KEY >&2; exit 1'
    attempt = engine.run(
        f"{CUT_WITHIN_A_SECRET}; {says % (SECRET, CREDENTIAL)}",
        agent="scripted",
        environment={"KEY": SECRET, "SHORT": "exit"},
        credential=CREDENTIAL,
        setup_command=f"echo {CREDENTIAL}; {CUT_WITHIN_A_SECRET}",
        limits=Limits(max_line_bytes=1000),
    )
    assert "s3cret" not in attempt.text
    steps = [event for event in attempt.events if isinstance(event, Step)]
    for of_agent in (False, True):
        assert "more bytes of this line were left out" in repr([each for each in steps if each.of_agent is of_agent])
    assert (attempt.outcome.result, attempt.outcome.title) == ("[redacted]", "[redacted]")
    assert "[redacted]" in str(attempt.outcome.failure)


def test_no_line_of_a_key_that_is_printed_in_base64_is_shown_and_no_part_of_one_that_is_cut(engine: Engine) -> None:
    script = f'echo "$KEY" | base64; {CUT_WITHIN_A_SECRET}; echo again >&2; exit 1'
    key = "".join(f"{number:x}" for number in range(500, 536))
    attempt = engine.run(script, environment={"KEY": key, "OTHER": SECRET}, limits=Limits(max_line_bytes=1000))
    assert code(attempt.outcome) == ("agent_failed", "agent")
    assert "[redacted]" in attempt.steps and "again" in attempt.text
    assert "s3cret" not in attempt.text and "more bytes of this line were left out" in attempt.text
    encoded = base64.b64encode(key.encode()).decode()
    assert not [part for part in (encoded[at : at + 8] for at in range(len(encoded) - 8)) if part in attempt.text]


def test_the_credential_never_enters_the_sandbox(engine: Engine) -> None:
    look = "env; cat /proc/*/environ 2>/dev/null; cat /proc/*/cmdline 2>/dev/null; grep -ar s3cret- . $HOME"
    attempt = engine.run(f"set +e; ({look}) > /tmp/$$; grep -ac 's3cret-to[k]en' /tmp/$$", credential=CREDENTIAL)
    assert code(attempt.outcome) == ("agent_failed", "agent"), "grep -c counts nothing and exits 1"
    assert "\n0\n" in str(attempt.outcome.failure)


def test_attachments_reach_the_agent_under_plain_names(engine: Engine) -> None:
    names = ("a.txt", "A.txt", "../../etc/passwd", ".hidden", "with space;$(rm).md", "..", "x/" + "y" * 300)
    attached = tuple(Attachment(name, lambda name=name: iter([name.encode(), b"!"])) for name in names)
    script = 'cd "$AGENT_RUNNERS_ATTACHMENTS"; { ls | LC_ALL=C sort; cat a.txt; } > "$OLDPWD/found"'
    assert engine.run(script, attachments=attached).outcome.failure is None
    _, *listed, content = (line[1:] for line in engine.diff.splitlines() if line.startswith("+"))
    assert content == "a.txt!"
    assert sorted(listed) == sorted(
        ["A-2.txt", "a.txt", "attachment", "hidden", "passwd", "with_space_rm_.md", "y" * 120]
    )


def test_a_question_or_a_plan_changes_nothing(engine: Engine) -> None:
    for mode in ("ask", "plan"):
        attempt = engine.run("echo edit > edit; echo forty-two", mode=mode)
        assert attempt.outcome == Outcome(base_sha=attempt.outcome.base_sha, saved=True, result="forty-two")
        assert engine.sink.diffs == {}
        assert attempt.steps[-1] == "The agent's edits were discarded"
    assert "The agent's edits were discarded" not in engine.run("echo nothing", mode="ask").steps


NEARLY_USED_UP, SILENT = "The time for this session is nearly used up", "No output for"


def test_a_limit_on_time_ends_the_attempt_and_keeps_the_work(engine: Engine) -> None:
    attempt = engine.run_into(
        "max_duration_seconds", "echo work > work; echo begun; sleep 300", "begun", NEARLY_USED_UP
    )
    assert code(attempt.outcome) == ("time_limit", "agent")
    assert "+work" in engine.diff
    assert any(NEARLY_USED_UP in step for step in attempt.steps)
    assert not any(SILENT in step for step in attempt.steps)


def test_a_silent_agent_is_ended_and_none_of_the_engines_own_steps_are_left_out(engine: Engine) -> None:
    step = '{"type":"step","title":"Step of the agent"}'
    script = f"echo {CREDENTIAL} > README; for n in 1 2 3; do echo '{step}'; done; sleep 300"
    told = ("3 steps were left out", SILENT)
    options = {"agent": "scripted", "credential": CREDENTIAL}
    attempt = engine.run_into("stall_seconds", script, *told, limits=Limits(max_steps=0), **options)
    assert code(attempt.outcome) == ("stalled", "agent")
    assert f"+{CREDENTIAL}" in engine.diff
    assert "Step of the agent" not in attempt.steps
    assert any(SILENT in step for step in attempt.steps)
    assert not any(NEARLY_USED_UP in step for step in attempt.steps)
    assert attempt.steps[-2:] == ["3 steps were left out", "The diff contains a secret"]


def test_a_limit_on_output_ends_the_attempt_and_keeps_the_work(engine: Engine) -> None:
    # In lines that are not short, since each line is a step.
    attempt = engine.run("echo work > work; yes $(printf %02000d 1)", limits=Limits(max_output_bytes=1_000_000))
    assert code(attempt.outcome) == ("output_limit", "agent")
    assert "+work" in engine.diff


def tell_usage(**usage: float) -> str:
    return f"echo '{json.dumps({'type': 'usage', **usage})}'"


USED = "Most of this session's budget is used"


def test_a_budget_of_tokens_that_is_nearly_used_up_is_reported_once_and_ends_the_attempt_when_exceeded(
    engine: Engine,
) -> None:
    says = "; ".join(tell_usage(input_tokens=given, output_tokens=1) for given in (798, 799, 949, 999, 1000))
    limits = Limits(max_tokens=1000, max_cost_usd=1.0)
    attempt = engine.run(f"echo work > work; {says}; sleep 300", agent="scripted", limits=limits)
    assert code(attempt.outcome) == ("budget_limit", "agent")
    assert "1,001 of 1,000 tokens" in str(attempt.outcome.failure)
    assert "+work" in engine.diff
    assert attempt.steps.count(USED) == 1 and attempt.outcome.usage in attempt.events
    assert [each.message for each in attempt.events if isinstance(each, BudgetWarning)] == [
        "The budget of the session: 800 of 1,000 tokens are used."
    ]


def test_a_budget_of_money_that_is_exceeded_at_once_ends_the_attempt_without_a_summary(engine: Engine) -> None:
    script = f"echo work > work; {tell_usage(input_tokens=10**6, cost_usd=0.51)}; sleep 300"
    attempt = engine.run(script, agent="scripted", limits=Limits(max_cost_usd=0.5, wrap_up_at=0.9))
    assert code(attempt.outcome) == ("budget_limit", "agent")
    assert "0.51 of 0.5 US dollars" in str(attempt.outcome.failure)
    assert "+work" in engine.diff
    assert attempt.steps.count(USED) == 1 and attempt.outcome.usage in attempt.events
    assert ASKED not in attempt.steps


ASKED, CUT = "The agent is asked for a summary", "The summary is not complete"
REMEMBERS = """echo '{"type": "session", "id": "s1"}'
mkdir -p ~/.agent-runners/session; echo turn >> ~/.agent-runners/session/log; echo "turns: $(grep -c turn ~/.agent-runners/session/log)"
"""


@pytest.mark.parametrize(
    ("session", "first", "last", "ending"),
    [
        pytest.param("", 900, 50, [ASKED], id="in words"),
        pytest.param(REMEMBERS, 900, 50, [ASKED], id="resumed"),
        pytest.param(REMEMBERS, 900, 150, [ASKED, CUT], id="too little is left"),
    ],
)
def test_an_agent_is_asked_for_a_summary_before_its_budget_is_used_up(
    engine: Engine, session: str, first: int, last: int, ending: list[str]
) -> None:
    reported = json.dumps({"type": "result", "text": "Half of it is done."})
    last_turn = f"{tell_usage(input_tokens=last, tool_calls=1)}; echo '{reported}'"
    turn = f"echo work > work; {tell_usage(input_tokens=first, tool_calls=2)}; sleep 300"
    attempt = engine.run(
        f"{session}if grep -q 'short summary'; then {last_turn}; else {turn}; fi",
        agent="scripted",
        limits=Limits(max_tokens=1000, wrap_up_at=0.9),
    )
    assert code(attempt.outcome) == ("budget_limit", "agent")
    assert [step for step in attempt.steps if "summary" in step] == ending
    assert ("turns: 2" in attempt.text) == bool(session)
    assert attempt.outcome.result == (None if last != 50 else "Half of it is done.")
    assert attempt.outcome.usage == Usage(input_tokens=first + last, tool_calls=3)
    assert attempt.outcome.session_id == ("s1" if session else None) and "+work" in engine.diff


def test_an_unknown_agent_fails_before_anything_is_fetched(engine: Engine) -> None:
    attempt = engine.run("", agent="hal", repo_url="https://nowhere.invalid/x.git")
    assert (code(attempt.outcome), attempt.events) == (("agent_unknown", "agent"), [])


def test_a_sandbox_that_does_not_work_is_reported_with_its_remedy(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unknown_sandbox: None
) -> None:
    if engine.host.sandbox == "none":
        return
    monkeypatch.setenv("PATH", fake_bubblewrap(tmp_path / "tools", REFUSED))
    attempt = engine.run("true")
    assert code(attempt.outcome) == ("sandbox_unavailable", "setup")
    assert "bubblewrap 0.9.0" in str(attempt.outcome.failure) and "namespaces" in str(attempt.outcome.failure)


def test_a_repository_that_cannot_be_fetched_is_a_failure(engine: Engine) -> None:
    attempt = engine.run("true", repo_url=str(engine.source.parent / "missing"))
    assert attempt.outcome.failure
    assert attempt.outcome.failure.stage == "checkout"
    assert stages(attempt) == ["fetching"]


def test_a_failure_while_saving_does_not_hide_the_first(engine: Engine) -> None:
    class Full:
        def write(self, kinds: object, chunks: object, *, contains_secret: bool) -> None:
            raise OSError("no space left")

    attempt = engine.run("echo x > x; false", sink=Full())
    assert code(attempt.outcome) == ("agent_failed", "agent")
    assert not attempt.outcome.has_result_diff


@pytest.mark.parametrize("where", ["parse", "tick", "verdict"])
def test_output_that_an_adapter_stumbles_over_costs_no_work(
    engine: Engine, where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Stumbling(ShellAgent):
        has_spoken = False

        def parse(self, line: Line) -> Iterable[Event]:
            self.has_spoken = True
            return self._stumble("parse") or super().parse(line)

        def tick(self, *, ended: bool = False) -> Iterable[Event]:
            # On a busy machine the first tick comes before the agent has done anything.
            return (self.has_spoken and self._stumble("tick")) or super().tick(ended=ended)

        def verdict(self, status: int) -> EngineError | None:
            return self._stumble("verdict") or super().verdict(status)

        def _stumble(self, at: str) -> None:
            if at == where:
                raise OverflowError("an agent's own words")

    monkeypatch.setitem(AGENTS, "shell", Stumbling)
    attempt = engine.run("echo work > work; echo said")
    assert code(attempt.outcome) == ("agent_failed", "agent")
    assert "+work" in engine.diff
    assert "OverflowError" in caplog.text and "own words" not in str(attempt.outcome.failure)


def test_a_fault_of_ours_is_raised(engine: Engine) -> None:
    class Broken:
        def write(self, kinds: object, chunks: object, *, contains_secret: bool) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        engine.run("echo x > x", sink=Broken())


def test_a_failure_while_saving_is_the_failure_of_good_work(engine: Engine) -> None:
    class Refusing:
        def write(self, kinds: object, chunks: object, *, contains_secret: bool) -> None:
            raise EngineError("upload_failed", "upload", "the store is unavailable", retryable=True)

    assert code(engine.run("echo x > x", sink=Refusing()).outcome) == ("upload_failed", "upload")


@linux
@pytest.mark.parametrize(("stage", "keep"), [("setup", True), ("agent", True), ("agent", False)])
def test_sigterm_ends_the_attempt_and_keeps_the_work_if_wanted(engine: Engine, stage: str, keep: bool) -> None:
    tree = Stubborn()
    waits = f"echo more >> README; {tree.script} sleep 300"
    setup = waits if stage == "setup" else "true"
    with sigterm_raises():
        waiter = sigterm_once(lambda: tree.alive() >= 5)
        attempt = engine.run(waits, setup_command=setup, keep=keep)
        waiter.join()
    assert (attempt.outcome.interrupted, attempt.outcome.failure, engine.noticed) == (True, None, [keep])
    assert tree.alive() == 0
    # What setup does is no work of the agent's, so there is nothing to keep of it.
    kept = keep and stage == "agent"
    assert attempt.outcome.has_cumulative_diff == ("cumulative" in engine.sink.diffs) == kept
    assert attempt.outcome.base_sha


def test_sigterm_while_the_repository_is_fetched(engine: Engine) -> None:
    """From a server that accepts the connection and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server, sigterm_raises():
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.git"
        held: list[socket.socket] = []

        def connected() -> bool:
            held.append(server.accept()[0])
            return True

        waiter = sigterm_once(connected)
        host = Host(
            engine.host.work_dir, sandbox=engine.host.sandbox, allowed_protocols=("http",), allow_private_addresses=True
        )
        attempt = Engine(host, engine.source, noticed=engine.noticed).run("true", repo_url=url)
        waiter.join()
    for connection in held:
        connection.close()
    assert (attempt.outcome.interrupted, engine.noticed) == (True, [True])
    assert not attempt.outcome.has_result_diff


def test_the_time_of_a_session_counts_while_its_repository_is_fetched(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.git"
        host = dataclasses.replace(engine.host, allowed_protocols=("http",), allow_private_addresses=True)
        attempt = Engine(host, engine.source).run("true", repo_url=url, limits=Limits(max_duration_seconds=1))
    assert code(attempt.outcome) == ("time_limit", "checkout")
    assert attempt.outcome.failure and not attempt.outcome.failure.retryable


def test_the_time_of_a_session_counts_during_setup(engine: Engine) -> None:
    attempt = engine.run_into("max_duration_seconds", "true", "begun", setup_command="echo begun; sleep 300")
    assert code(attempt.outcome) == ("time_limit", "setup")


def test_an_interruption_that_is_thrown_in_ends_the_attempt(engine: Engine) -> None:
    """As the task does when the record refuses a write: at an event, while the agent runs."""
    tree = Stubborn()
    with contextlib.closing(run(engine.job(f"echo x > x; {tree.script} sleep 300"), engine.host)) as events:
        while "ready" not in str(next(events)):
            pass
        with pytest.raises(StopIteration) as stop:
            events.throw(Interrupted())
    assert stop.value.value.interrupted
    assert engine.noticed == [True]
    assert "+x" in engine.diff
    assert tree.alive() == 0


def test_a_second_sigterm_does_not_interrupt_the_cleaning_up(engine: Engine) -> None:
    asked: list[bool] = []

    def on_interrupt() -> bool:
        asked.append(True)
        if len(asked) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.kill(os.getpid(), signal.SIGTERM)
        return True

    with sigterm_raises():
        events = run(engine.job("echo x > x; echo ready; sleep 300", on_interrupt=on_interrupt), engine.host)
        while "ready" not in str(next(events)):
            pass
        with pytest.raises(StopIteration) as stop:
            events.throw(Interrupted())
    assert stop.value.value.interrupted
    assert "+x" in engine.diff


@pytest.mark.parametrize("keep", [False, True])
def test_a_lifeline_that_runs_out_is_an_interruption(engine: Engine, keep: bool) -> None:
    lifeline = Lifeline(600)
    events = run(engine.job("echo x > x; echo ready; sleep 300", lifeline=lifeline, keep=keep), engine.host)
    while "ready" not in str(next(events)):
        pass
    lifeline.cut()
    with pytest.raises(StopIteration) as stop:
        next(events)
    assert stop.value.value.interrupted
    assert engine.noticed == [keep]
    assert bool(engine.sink.diffs) == keep


@linux
def test_a_caller_that_disconnects_leaves_nothing_behind(engine: Engine) -> None:
    tree = Stubborn()
    events = run(engine.job(f"{tree.script} sleep 300"), engine.host)
    while "ready" not in str(next(events)):
        pass
    events.close()
    assert tree.alive() == 0
    assert engine.noticed == []


FEW = Limits(max_steps=5, max_steps_bytes=1000)


@pytest.mark.parametrize("message", ["", "x" * 300])
def test_more_steps_of_setup_and_agent_than_an_attempt_may_have_are_counted_and_left_out(
    engine: Engine, message: str
) -> None:
    step = json.dumps({"type": "step", "title": "Step of the agent", "message": message})
    script = f"for n in 1 2 3 4 5 6 7 8; do echo '{step}'; done; echo x > x"
    attempt = engine.run(script, agent="scripted", setup_command="echo of the setup", limits=FEW)
    kept = 3 if message else 4
    assert attempt.outcome.failure is None and attempt.outcome.has_result_diff
    assert [each for each in attempt.steps if "of the" in each] == ["of the setup", *["Step of the agent"] * kept]
    assert attempt.steps[-2:] == ["Steps are left out from here on", f"{8 - kept} steps were left out"]
    assert "5 steps and 1,000 bytes" in attempt.text


def test_usage_is_reported_once_a_second_and_the_last_of_it_always(engine: Engine) -> None:
    started = time.monotonic()
    script = """seq 1 5000 | sed 's/.*/{"type":"usage","input_tokens":&}/'; sleep 6; echo '{"type":"usage","input_tokens":9}'"""
    attempt = engine.run(script, agent="scripted")
    reported = [event for event in attempt.events if isinstance(event, Usage)]
    assert reported[0] == Usage(1) and reported[-1] == attempt.outcome.usage == Usage(9)
    assert Usage(5000) in reported, "what was held back is sent while the agent is silent"
    assert len(reported) <= time.monotonic() - started + 2


def test_nothing_is_left_running(engine: Engine) -> None:
    tree = Stubborn()
    assert engine.run(tree.script).outcome.failure is None
    eventually(lambda: tree.alive() == 0, "processes survived")
