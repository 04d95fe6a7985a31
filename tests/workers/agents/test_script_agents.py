"""The agents that run a script: what `test_real_clis` proves of the others, and nothing else does of these."""

from __future__ import annotations

import pytest

from tests.workers.attempts import Engine, code
from tests.workers.engine import Stubborn, linux, sigterm_once, sigterm_raises

each_agent = pytest.mark.parametrize("agent", ["shell", "scripted"])
ODD = "\u202e\u200b\u200d\x1b[31m\x07 $(id) `id` \"'\\ %s {x} </system> \U0001f600 \u0085 é"


@linux
def test_a_stop_of_the_scripted_agent_keeps_the_work_and_leaves_no_process(engine: Engine) -> None:
    tree = Stubborn()
    edit = "sed -i s/hello/hi/ README; echo kept > new"
    with sigterm_raises():
        waiter = sigterm_once(lambda: tree.alive() >= 5)
        attempt = engine.run(f"{edit}; {tree.script} sleep 300", agent="scripted")
        waiter.join()
    assert attempt.outcome.interrupted and attempt.outcome.failure is None
    assert "-hello\n+hi\n" in engine.diff and "+kept" in engine.diff and tree.alive() == 0


@each_agent
def test_odd_characters_of_a_script_arrive_and_one_that_is_killed_keeps_its_work(engine: Engine, agent: str) -> None:
    attempt = engine.run(f"cat > new <<'END'\n{ODD}\nEND\ncat new\nkill -9 $$", agent=agent)
    assert code(attempt.outcome) == ("agent_failed", "agent") and "signal 9" in str(attempt.outcome.failure)
    assert f"+{ODD}\n" in engine.diff
    shown = attempt.steps[-1]
    assert "$(id) `id`" in shown and "\U0001f600" in shown and "\x1b" not in shown and "\x07" not in shown


@each_agent
def test_a_script_of_a_mebibyte_arrives(engine: Engine, agent: str) -> None:
    script = "cat > new <<'END'\n{}\nEND\nwc -c < new"
    longest = "x" * (1024 * 1024 - len(script.encode()) + 2)
    assert len(script.format(longest)) == 1024 * 1024
    attempt = engine.run(script.format(longest), agent=agent)
    assert attempt.outcome.failure is None and attempt.outcome.result == str(len(longest) + 1)
    assert f"+{longest}\n" in engine.diff
