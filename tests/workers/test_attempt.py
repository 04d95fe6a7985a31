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
from tests.workers.attempts import Engine, code
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


def test_a_change_becomes_a_diff(engine: Engine) -> None:
    attempt = engine.run("echo changed >> README; echo new > new; echo done")
    assert attempt.outcome.failure is None
    assert attempt.outcome.has_result_diff and attempt.outcome.has_cumulative_diff
    assert attempt.outcome.result == "done"
    assert "+changed" in engine.diff and "+new" in engine.diff
    sandbox, based, *_ = (event for event in attempt.events if not isinstance(event, Progress))
    assert isinstance(sandbox, Step) and sandbox.title == f"Sandbox: {engine.host.sandbox}"
    assert based == BaseCommit(str(attempt.outcome.base_sha), "main")
    assert attempt.steps[-1] == "done"


def test_an_attempt_says_which_part_of_its_work_begins(engine: Engine) -> None:
    attempt = engine.run("echo working", setup_command="echo installing")
    stages = ["fetching", "preparing", "setup", "agent", "saving"]
    assert [event.stage for event in attempt.events if isinstance(event, Progress)] == stages
    assert [event.title for event in attempt.events if isinstance(event, Step) and event.of_agent] == ["working"]
    attempt = engine.run("true", branch="absent")
    assert [event.stage for event in attempt.events if isinstance(event, Progress)] == ["fetching"]


def test_the_first_step_says_what_the_agent_may_reach(engine: Engine) -> None:
    first = engine.run("true", egress_hosts=("*.example.com",)).events[0]
    assert isinstance(first, Step)
    expected = "allows: *.example.com." if engine.host.sandbox == "bubblewrap" else "There is no sandbox"
    assert expected in first.message


def test_an_agent_that_changes_nothing_has_no_diff(engine: Engine) -> None:
    outcome = engine.run("cat README").outcome
    assert (outcome.failure, outcome.has_result_diff, engine.sink.diffs) == (None, False, {})


def test_a_script_that_fails_keeps_its_work(engine: Engine) -> None:
    attempt = engine.run("echo half > half; echo because of this; false; echo never")
    assert code(attempt.outcome) == ("agent_failed", "agent")
    assert "because of this" in str(attempt.outcome.failure)
    assert attempt.outcome.has_result_diff
    assert "+half" in engine.diff


def test_the_scripted_agent_reports(engine: Engine) -> None:
    says = '{"type":"usage","input_tokens":7}', '{"type":"result","text":"R"}', '{"type":"title","text":"T"}'
    attempt = engine.run("\n".join(f"echo '{line}'" for line in says), agent="scripted")
    assert (attempt.outcome.result, attempt.outcome.title, attempt.outcome.usage) == ("R", "T", Usage(7))
    assert Usage(7) in attempt.events


def test_setup_comes_first_and_is_no_part_of_the_diff(engine: Engine) -> None:
    attempt = engine.run("cat made-by-setup > copied", setup_command="echo ready > made-by-setup; echo set up")
    assert attempt.outcome.failure is None
    assert "copied" in engine.diff and "made-by-setup" not in engine.diff.replace("copied", "")
    assert attempt.steps[1:3] == ["Setup", "set up"]


def test_a_setup_that_fails_ends_the_attempt(engine: Engine) -> None:
    attempt = engine.run("echo never > never", setup_command="echo what is wrong; false; true")
    assert code(attempt.outcome) == ("setup_failed", "setup")
    assert "what is wrong" in str(attempt.outcome.failure)
    assert engine.sink.diffs == {}


def test_the_variables_are_for_the_agent_alone(engine: Engine) -> None:
    attempt = engine.run(
        'test "$KEY" = s3cret-key-of-the-model && echo agent has it',
        setup_command='test -z "$KEY" && echo setup has it not',
        environment={"KEY": SECRET},
    )
    assert {"agent has it", "setup has it not"} <= set(attempt.steps)


def test_secrets_are_redacted_wherever_they_turn_up(engine: Engine) -> None:
    says = 'echo \'{"type":"result","text":"%s"}\'; echo \'{"type":"title","text":"%s"}\'; echo $KEY >&2; exit 1'
    attempt = engine.run(
        says % (SECRET, CREDENTIAL),
        agent="scripted",
        environment={"KEY": SECRET, "SHORT": "exit"},
        credential=CREDENTIAL,
        setup_command=f"echo {CREDENTIAL}",
    )
    assert "s3cret" not in attempt.text
    assert (attempt.outcome.result, attempt.outcome.title) == ("[redacted]", "[redacted]")
    assert "[redacted]" in str(attempt.outcome.failure)


def test_the_credential_never_enters_the_sandbox(engine: Engine) -> None:
    look = "env; cat /proc/*/environ 2>/dev/null; cat /proc/*/cmdline 2>/dev/null; grep -ar s3cret- . $HOME"
    attempt = engine.run(f"set +e; ({look}) > /tmp/$$; grep -ac 's3cret-to[k]en' /tmp/$$", credential=CREDENTIAL)
    assert code(attempt.outcome) == ("agent_failed", "agent"), "grep -c counts nothing and exits 1"
    assert "\n0\n" in str(attempt.outcome.failure)


def test_the_agent_can_commit_in_any_repository(engine: Engine) -> None:
    commit = (
        "git init -q $TMPDIR/{0} && cd $TMPDIR/{0} && git commit -q --allow-empty -m x && git log --format='%an <%ae>'"
    )
    attempt = engine.run(commit.format("two"), setup_command=commit.format("one"))
    assert attempt.outcome.failure is None
    assert attempt.outcome.result == "Agent <agent@localhost>"


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


@pytest.mark.parametrize("mode", ["ask", "plan"])
def test_a_question_or_a_plan_changes_nothing(engine: Engine, mode: str) -> None:
    attempt = engine.run("echo edit > edit; echo forty-two", mode=mode)
    assert attempt.outcome == Outcome(base_sha=attempt.outcome.base_sha, saved=True, result="forty-two")
    assert engine.sink.diffs == {}
    assert attempt.steps[-1] == "The agent's edits were discarded"
    assert "The agent's edits were discarded" not in engine.run("echo nothing", mode=mode).steps


NEARLY_USED_UP, SILENT = "The time for this session is nearly used up", "No output for"


@pytest.mark.parametrize(
    ("limit", "expected", "told", "not_told"),
    [
        ("max_duration_seconds", "time_limit", NEARLY_USED_UP, SILENT),
        ("stall_seconds", "stalled", SILENT, NEARLY_USED_UP),
    ],
)
def test_limits_on_time_end_the_attempt_and_keep_the_work(
    engine: Engine, limit: str, expected: str, told: str, not_told: str
) -> None:
    attempt = engine.run_into(limit, "echo work > work; echo begun; sleep 300", "begun", told)
    assert code(attempt.outcome) == (expected, "agent")
    assert "+work" in engine.diff
    assert any(told in step for step in attempt.steps) and not any(not_told in step for step in attempt.steps)


def test_a_limit_on_output_ends_the_attempt_and_keeps_the_work(engine: Engine) -> None:
    # In lines that are not short, since each line is a step.
    attempt = engine.run("echo work > work; yes $(printf %02000d 1)", limits=Limits(max_output_bytes=1_000_000))
    assert code(attempt.outcome) == ("output_limit", "agent")
    assert "+work" in engine.diff


def tell_usage(**usage: float) -> str:
    return f"echo '{json.dumps({'type': 'usage', **usage})}'"


@pytest.mark.parametrize(
    ("limits", "usage", "reported"),
    [
        (Limits(max_tokens=1000), {"input_tokens": 900, "output_tokens": 101}, "1,001 of 1,000 tokens"),
        (Limits(max_cost_usd=0.5), {"input_tokens": 10**6, "cost_usd": 0.51}, "0.51 of 0.5 US dollars"),
    ],
)
def test_a_budget_that_is_used_up_ends_the_attempt_and_keeps_the_work(
    engine: Engine, limits: Limits, usage: dict[str, float], reported: str
) -> None:
    attempt = engine.run(f"echo work > work; {tell_usage(**usage)}; sleep 300", agent="scripted", limits=limits)
    assert code(attempt.outcome) == ("budget_limit", "agent")
    assert reported in str(attempt.outcome.failure)
    assert "+work" in engine.diff
    assert attempt.steps.count("Most of this session's budget is used") == 1
    assert attempt.outcome.usage in attempt.events


def test_a_budget_that_is_nearly_used_up_is_reported_once(engine: Engine) -> None:
    says = [tell_usage(input_tokens=tokens) for tokens in (799, 800, 950, 1000)]
    attempt = engine.run("\n".join(says), agent="scripted", limits=Limits(max_tokens=1000, max_cost_usd=1.0))
    assert attempt.outcome.failure is None
    assert attempt.steps.count("Most of this session's budget is used") == 1
    assert "800 of 1,000 tokens" in attempt.text
    assert [each.message for each in attempt.events if isinstance(each, BudgetWarning)] == [
        "The budget of the session: 800 of 1,000 tokens are used."
    ]


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
        pytest.param(REMEMBERS, 1001, 0, [], id="nothing is left"),
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
    assert ("turns: 2" in attempt.text) == bool(session and ending)
    assert attempt.outcome.result == (None if last != 50 else "Half of it is done.")
    assert attempt.outcome.usage == Usage(input_tokens=first + last, tool_calls=3 if ending else 2)
    assert attempt.outcome.session_id == ("s1" if session else None) and "+work" in engine.diff


def test_an_unknown_agent_fails_before_anything_is_fetched(engine: Engine) -> None:
    attempt = engine.run("", agent="hal", repo_url="https://nowhere.invalid/x.git")
    assert (code(attempt.outcome), attempt.events) == (("agent_unknown", "agent"), [])


def test_a_sandbox_that_does_not_work_is_reported_with_its_remedy(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.host.sandbox == "none":
        return
    monkeypatch.setenv("PATH", fake_bubblewrap(tmp_path / "tools", REFUSED))
    attempt = engine.run("true")
    assert code(attempt.outcome) == ("sandbox_unavailable", "setup")
    assert "bubblewrap 0.9.0" in str(attempt.outcome.failure) and "namespaces" in str(attempt.outcome.failure)


def test_a_repository_that_cannot_be_fetched_is_a_failure(engine: Engine) -> None:
    outcome = engine.run("true", repo_url=str(engine.source.parent / "missing")).outcome
    assert outcome.failure
    assert outcome.failure.stage == "checkout"


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


def test_an_enormous_cost_is_no_cost(engine: Engine) -> None:
    attempt = engine.run(f"""echo work > work; echo '{{"type":"usage","cost_usd":{10**400}}}'""", agent="scripted")
    assert attempt.outcome.failure is None
    assert attempt.outcome.usage == Usage()


def test_no_line_of_a_key_that_is_printed_in_base64_is_shown(engine: Engine) -> None:
    script = 'echo "$KEY" | base64; echo again >&2; exit 1'
    key = "".join(f"{number:x}" for number in range(500, 536))
    attempt = engine.run(script, environment={"KEY": key})
    assert code(attempt.outcome) == ("agent_failed", "agent")
    assert "[redacted]" in attempt.steps and "again" in attempt.text
    encoded = base64.b64encode(key.encode()).decode()
    assert not [part for part in (encoded[at : at + 8] for at in range(len(encoded) - 8)) if part in attempt.text]


def test_a_line_that_is_cut_within_a_secret_shows_no_part_of_it(engine: Engine) -> None:
    limits = Limits(max_line_bytes=1000)
    script = f"printf '%0990d' 0; echo {SECRET}; echo {{}} >&2"
    for agent in ("shell", "scripted"):
        attempt = engine.run(script, agent=agent, environment={"KEY": SECRET}, setup_command=script, limits=limits)
        assert attempt.outcome.failure is None
        assert "s3cret" not in attempt.text and "more bytes of this line were left out" in attempt.text


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


@pytest.mark.parametrize("keep", [True, False])
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


def test_steps_are_bounded_and_fit_for_any_database(engine: Engine) -> None:
    script = r"""printf 'x%.0s' $(seq 1 70000); echo; printf 'a\000b\n'; echo '{"type":"step","title":"\ud800"}'"""
    attempt = engine.run(script, agent="scripted")
    for event in attempt.events:
        if isinstance(event, Step):
            assert len(event.title) <= 200
            assert len(event.message.encode()) <= 16 * 1024
            assert "\0" not in event.title + event.message


FEW = Limits(max_steps=5, max_steps_bytes=1000)


@pytest.mark.parametrize("message", ["", "x" * 300])
def test_more_steps_than_an_attempt_may_have_are_counted_and_left_out(engine: Engine, message: str) -> None:
    step = json.dumps({"type": "step", "title": "Step of the agent", "message": message})
    attempt = engine.run(f"for n in 1 2 3 4 5 6 7 8; do echo '{step}'; done; echo x > x", agent="scripted", limits=FEW)
    kept = 3 if message else 5
    assert attempt.outcome.failure is None and attempt.outcome.has_result_diff
    assert attempt.steps.count("Step of the agent") == kept
    assert attempt.steps[-2:] == ["Steps are left out from here on", f"{8 - kept} steps were left out"]
    assert "5 steps and 1,000 bytes" in attempt.text


def test_setup_and_agent_share_the_steps_of_an_attempt(engine: Engine) -> None:
    script = "".join(f"""echo '{{"type":"step","title":"Step {n} of the agent"}}'\n""" for n in range(3))
    limits = dataclasses.replace(FEW, max_steps=2)
    attempt = engine.run(script, agent="scripted", setup_command="echo of the setup", limits=limits)
    assert [step for step in attempt.steps if "of the" in step] == ["of the setup", "Step 0 of the agent"]
    assert attempt.steps[-1] == "2 steps were left out"


def test_the_engines_own_steps_are_never_left_out(engine: Engine) -> None:
    step = '{"type":"step","title":"Step of the agent"}'
    script = f"echo {CREDENTIAL} > README; for n in 1 2 3; do echo '{step}'; done; sleep 300"
    told = ("3 steps were left out", SILENT)
    options = {"agent": "scripted", "credential": CREDENTIAL}
    attempt = engine.run_into("stall_seconds", script, *told, limits=Limits(max_steps=0), **options)
    assert code(attempt.outcome) == ("stalled", "agent")
    assert "Step of the agent" not in attempt.steps
    assert any(SILENT in step for step in attempt.steps)
    assert attempt.steps[-2:] == ["3 steps were left out", "The diff contains a secret"]


def test_usage_is_reported_once_a_second_and_the_last_of_it_always(engine: Engine) -> None:
    started = time.monotonic()
    script = """seq 1 5000 | sed 's/.*/{"type":"usage","input_tokens":&}/'; sleep 6; echo '{"type":"usage","input_tokens":9}'"""
    attempt = engine.run(script, agent="scripted")
    reported = [event for event in attempt.events if isinstance(event, Usage)]
    assert reported[0] == Usage(1) and reported[-1] == attempt.outcome.usage == Usage(9)
    assert Usage(5000) in reported, "what was held back is sent while the agent is silent"
    assert len(reported) <= time.monotonic() - started + 2


def test_files_belong_to_the_user_of_the_sandbox(engine: Engine) -> None:
    confined = engine.host.sandbox == "bubblewrap" and IS_ROOT
    expected = engine.host.sandbox_uid if confined else os.geteuid()
    # Printed at once, so that it is one step.
    attempt = engine.run(
        'echo "$(stat -c %u . README .git $HOME | sort -u; git status --short; git log --oneline | wc -l)"'
    )
    assert attempt.outcome.failure is None
    lines = [event.message or event.title for event in attempt.events if isinstance(event, Step)][-1].splitlines()
    assert (lines[0], lines[-1]) == (str(expected), "1")


def test_nothing_is_left_running(engine: Engine) -> None:
    tree = Stubborn()
    assert engine.run(tree.script).outcome.failure is None
    eventually(lambda: tree.alive() == 0, "processes survived")
