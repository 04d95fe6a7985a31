"""What the adapters make of what the programs say, from recorded output of the real ones."""

from __future__ import annotations

import itertools
import json
import sys
import time
import tomllib
from pathlib import Path

import pytest

from app.redaction.secrets import Secrets
from tests.workers.engine import job
from workers.agents.base import Agent
from workers.agents.plain_output import PlainOutput, plain
from workers.agents.programs import Installed, find_installed, find_version
from workers.agents.registry import AGENTS, find_missing, open_agent
from workers.errors import EngineError
from workers.events import Event, Step, Usage
from workers.job import Conflict, Limits
from workers.processes.lines import Line
from workers.sandbox import Place

STREAMS = Path(__file__).parent / "streams"
INSIDE = Place("/workspace", "/home/agent", "/tmp", "/attachments", isolated=True)
OUTSIDE = Place("/data/checkout", "/data/home", "/data/home/tmp", "/data/attachments", isolated=False)


def stream_of(name: str) -> list[bytes]:
    return (STREAMS / f"{name}.jsonl").read_bytes().splitlines()


def replay(agent: Agent, stream: str) -> list[Event]:
    return [event for line in stream_of(stream) for event in agent.parse(Line(line))] + list(agent.tick(ended=True))


def titles(events: list[Event]) -> list[str]:
    return [event.title for event in events if isinstance(event, Step)]


def verdict(agent: Agent, status: int) -> tuple[str, bool] | None:
    failure = agent.verdict(status)
    return (failure.code, failure.retryable) if failure else None


def test_codex_edits_a_file(programs: Path) -> None:
    agent = open_agent(job(agent="codex"))
    events = replay(agent, "codex-edit")
    assert titles(events) == ["Update /workspace/calc.py", "Done: the requested change is in place."]
    assert events[-1] == agent.usage == Usage(2000, 50, 100, None, 1)
    assert (agent.result, verdict(agent, 0)) == ("Done: the requested change is in place.", None)


def test_codex_runs_a_command(programs: Path) -> None:
    agent = open_agent(job(agent="codex"))
    warning, command, answer = titles(replay(agent, "codex-command"))
    assert warning.startswith("Model metadata for")
    assert command == "python3 - <<'EOF_FAKE'"
    assert answer == agent.result


def test_claude_edits_a_file(programs: Path) -> None:
    agent = open_agent(job(agent="claude"))
    events = replay(agent, "claude-edit")
    assert titles(events) == [
        "Claude Code 2.1.197 started",
        "I will make the change.",
        "Read: /workspace/calc.py",
        "Result of Read: /workspace/calc.py",
        "I will make the change.",
        "Edit: /workspace/calc.py",
        "Result of Edit: /workspace/calc.py",
        "Done: the requested change is in place.",
    ]
    assert events[-1] == agent.usage == Usage(3270, 75, 150, 0.01755, 2)
    totals = [event.input_tokens or 0 for event in events if isinstance(event, Usage)]
    assert totals == sorted(totals), "totals never fall"
    assert (agent.result, verdict(agent, 0)) == ("Done: the requested change is in place.", None)


def test_claude_shows_what_tools_answered_and_which_of_them_failed(programs: Path) -> None:
    agent = open_agent(job(agent="claude", secrets=Secrets("s3cret-token-of-a-site")))
    calls = [
        {"type": "tool_use", "id": "1", "name": "Bash", "input": {"command": "make test"}},
        {"type": "tool_use", "id": "2", "name": "Read", "input": {"file_path": "no.txt"}},
    ]
    answers = [
        {
            "type": "tool_result",
            "tool_use_id": "2",
            "is_error": True,
            "content": "<tool_use_error>No file.</tool_use_error>",
        },
        {
            "type": "tool_result",
            "tool_use_id": "1",
            "content": [{"type": "text", "text": "1 %\r100 %\nok " + "x" * 9000}],
        },
        {"type": "tool_result", "tool_use_id": "9", "is_error": True, "content": "s3cret-token-of-a-site" * 1000},
    ]
    said = [("assistant", calls), ("user", answers)]
    lines = [json.dumps({"type": who, "message": {"content": content}}).encode() for who, content in said]
    *_, failed, good, unknown = [event for line in lines for event in agent.parse(Line(line))]
    assert failed == Step("Failed: Read: no.txt", "No file.", category="read", ref="2")
    assert isinstance(good, Step) and isinstance(unknown, Step)
    assert good.title == "Result of Bash: make test" and good.message.startswith("100 %\nok xxx")
    assert len(good.message) < 5000 and "bytes were left out" in good.message
    assert unknown.title == "Failed: a tool" and "s3cret" not in unknown.message


def grouped(events: list[Event]) -> list[tuple[str, bool]]:
    """The category of each step, and whether it names the call that it belongs to."""
    return [(event.category, event.ref is not None) for event in events if isinstance(event, Step)]


def test_steps_say_what_they_are_about_and_results_name_their_call(programs: Path) -> None:
    events = replay(open_agent(job(agent="claude")), "claude-edit")
    call, result = ("read", True), ("edit", True)
    said = ("message", False)
    assert grouped(events) == [("system", False), said, call, call, said, result, result, said]
    refs = [event.ref for event in events if isinstance(event, Step) and event.ref]
    assert refs[0] == refs[1] != refs[2] == refs[3]
    assert grouped(replay(open_agent(job(agent="codex")), "codex-edit")) == [("edit", True), said]
    assert ("command", True) in grouped(replay(open_agent(job(agent="codex")), "codex-command"))


def test_lists_of_tasks_plans_questions_and_thoughts_are_shown_as_such(programs: Path) -> None:
    tasks = [{"content": "Read", "status": "completed"}, {"content": "Write", "status": "pending"}]
    used = [
        {"type": "thinking", "thinking": "Hm."},
        {"type": "tool_use", "id": "1", "name": "TodoWrite", "input": {"todos": tasks}},
        {"type": "tool_use", "id": "2", "name": "ExitPlanMode", "input": {"plan": "First\nthen"}},
        {"type": "tool_use", "id": "3", "name": "AskUserQuestion", "input": {"questions": [{"question": "Which?"}]}},
    ]
    line = json.dumps({"type": "assistant", "message": {"content": used}}).encode()
    assert list(open_agent(job(agent="claude")).parse(Line(line))) == [
        Step("Hm.", category="reasoning"),
        Step("Tasks: 1 of 2 done", "[x] Read\n[ ] Write", category="todo", ref="1"),
        Step("ExitPlanMode: First", "First\nthen", category="plan", ref="2"),
        Step("AskUserQuestion: Which?", category="question", ref="3"),
    ]
    codex = open_agent(job(agent="codex"))
    item = {"id": "item_1", "type": "todo_list", "items": [{"text": "Read", "completed": True}]}
    lines = [
        json.dumps({"type": f"item.{what}", "item": item}).encode() for what in ("started", "updated", "completed")
    ]
    assert [event for line in lines for event in codex.parse(Line(line))] == [
        Step("Tasks: 1 of 1 done", "[x] Read", category="todo", ref="item_1")
    ]


def test_claude_counts_each_message_once_however_many_parts_and_messages_there_are(programs: Path) -> None:
    agent = open_agent(job(agent="claude"))

    def say(number: int, tokens: int) -> None:
        usage = {"input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": tokens}
        message = {"type": "assistant", "message": {"id": f"msg_{number}", "usage": usage}}
        list(agent.parse(Line(json.dumps(message).encode())))

    started = time.thread_time()
    for number in range(10_000):
        say(number, 1)
        say(number, 3)
        say(max(number - 10, 0), 3)
    assert agent.usage == Usage(30_000, 30_000, 20_000, None, 0)
    assert time.thread_time() - started < 15, "the work for each message does not grow with their number"


def test_claude_gets_the_cost_limit_and_its_report_of_reaching_it_is_used(programs: Path) -> None:
    agent = open_agent(job(agent="claude", limits=Limits(max_cost_usd=0.00001)))
    assert "--max-budget-usd=0.000010" in agent.command(INSIDE)
    assert not any("budget" in word for word in open_agent(job(agent="claude")).command(INSIDE))
    end = {"type": "result", "subtype": "error_max_budget_usd", "is_error": True, "total_cost_usd": 0.02}
    said = []
    with pytest.raises(EngineError) as failure:
        for event in agent.parse(Line(json.dumps(end).encode())):
            said.append(event)
    assert failure.value.code == "budget_limit" and "1e-05 US dollars" in failure.value.message
    assert said == [Usage(0, 0, 0, 0.02, 0)]


def test_whoever_is_done_has_spent_what_it_took(programs: Path) -> None:
    for name in ("codex", "claude"):
        agent = open_agent(job(agent=name))
        parsed = [(event, agent.finished) for line in stream_of(f"{name}-edit") for event in agent.parse(Line(line))]
        assert [finished for event, finished in parsed if isinstance(event, Usage)][-1]


# What the others make of an edit: the categories of their steps, the usage, and how many of the steps name a call.
EDITS = {
    "copilot": (["read", "read", "edit", "edit", "message"], Usage(tool_calls=2)),
    "gemini": (
        ["read", "read", "edit", "edit", "edit", "edit", "command", "command", "message"],
        Usage(500, 125, 250, None, 4),
    ),
    "mini-swe-agent": (["command", "command", "command", "message"], Usage(200, 50, 100, None, 2)),
    "opencode": (["read", "read", "edit", "edit", "message"], Usage(3000, 75, 150, None, 2)),
    "qwen": (["system", "read", "read", "edit", "edit", "message"], Usage(3000, 75, 150, None, 2)),
}


@pytest.mark.parametrize("name", EDITS)
def test_the_others_edit_a_file(programs: Path, name: str) -> None:
    agent = open_agent(job(agent=name, model="a-model"))
    events = replay(agent, f"{name}-edit")
    categories, usage = EDITS[name]
    assert [category for category, _ in grouped(events)] == categories
    assert all(has_ref == (category not in ("message", "system")) for category, has_ref in grouped(events))
    assert titles(events)[-1] == agent.result and str(agent.result).startswith("Done: the ")
    assert [event for event in events if isinstance(event, Usage)][-1] == agent.usage == usage
    assert agent.finished and verdict(agent, 0) is None


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize(
    ("stream", "status", "expected"),
    [
        ("401", 1, ("agent_auth", False)),
        ("401", 0, ("agent_auth", False)),
        ("killed", 137, ("agent_crashed", True)),
        ("killed", 0, ("agent_no_result", True)),
        ("edit", 1, ("agent_failed", False)),
    ],
)
def test_failures_of_the_others_are_distinguished(
    programs: Path, name: str, stream: str, status: int, expected: tuple[str, bool]
) -> None:
    agent = open_agent(job(agent=name, model="a-model"))
    replay(agent, f"{name}-{stream}")
    assert verdict(agent, status) == expected


@pytest.mark.parametrize("name", ["copilot", "mini-swe-agent", "opencode"])
def test_an_agent_without_a_model_of_its_own_says_how_to_name_one(programs: Path, name: str) -> None:
    with pytest.raises(EngineError, match="default_model"):
        open_agent(job(agent=name))
    variable = "COPILOT_MODEL" if name == "copilot" else "OPENAI_MODEL"
    command = open_agent(job(agent=name, environment={variable: "a-model"})).command(INSIDE)
    assert any(word.endswith("a-model") for word in command)


@pytest.mark.parametrize("name", EDITS)
def test_no_prompt_and_no_key_of_the_others_is_in_a_file_or_a_command(programs: Path, name: str) -> None:
    keys = dict.fromkeys(("OPENAI_API_KEY", "GEMINI_API_KEY", "COPILOT_PROVIDER_API_KEY"), "sk-secret-value")
    agent = open_agent(job("make it so", agent=name, environment=keys, model="a-model", effort="high"))
    said = repr((agent.files(INSIDE), agent.command(INSIDE), agent.environment(INSIDE)))
    assert "sk-secret" not in said and "make it so" not in said
    assert agent.stdin(INSIDE, []) == b"make it so" and agent.key in keys


@pytest.mark.parametrize("name", ["codex", "claude"])
@pytest.mark.parametrize(
    ("stream", "status", "expected"),
    [
        ("401", 1, ("agent_auth", False)),
        ("429", 1, ("agent_rate_limited", True)),
        ("killed", 137, ("agent_crashed", True)),
        ("killed", 1, ("agent_failed", False)),
        ("killed", 0, ("agent_no_result", True)),
        ("edit", 1, ("agent_failed", False)),
    ],
)
def test_failures_are_distinguished(
    programs: Path, name: str, stream: str, status: int, expected: tuple[str, bool]
) -> None:
    agent = open_agent(job(agent=name))
    replay(agent, f"{name}-{stream}")
    assert verdict(agent, status) == expected


def test_an_exit_status_of_zero_does_not_make_a_failure_good(programs: Path) -> None:
    for name in ("codex", "claude"):
        agent = open_agent(job(agent=name))
        replay(agent, f"{name}-401")
        assert verdict(agent, 0) == ("agent_auth", False)


def test_a_fault_of_the_provider_is_reported_in_its_words(programs: Path) -> None:
    agent = open_agent(job(agent="claude"))
    replay(agent, "claude-500")
    failure = agent.verdict(1)
    assert failure
    assert failure.code == "agent_failed"
    assert "500" in failure.message


def test_a_missing_key_is_reported_with_advice(programs: Path) -> None:
    agent = open_agent(job(agent="claude"))
    replay(agent, "claude-no-key")
    failure = agent.verdict(1)
    assert failure
    assert failure.code == "agent_auth"
    assert "ANTHROPIC_API_KEY" in failure.message


def test_what_is_said_on_standard_error_explains_a_failure(programs: Path) -> None:
    agent = open_agent(job(agent="codex"))
    assert list(agent.parse(Line(b"Error: the roof is on fire", "err"))) == []
    failure = agent.verdict(2)
    assert failure
    assert "the roof is on fire" in failure.message


@pytest.mark.parametrize("name", ["codex", "claude", "scripted", *EDITS])
def test_no_output_can_break_an_adapter(programs: Path, name: str) -> None:
    """Programs change what they print, and a repository may make an agent print anything."""
    agent = open_agent(job(agent=name, model="a-model"))
    values = ["null", "1", '"x"', "[]", "{}", "[[]]", '[{"type":1}]', "1e999", '"\\ud800"', "-5", str(10**30)]
    lines = [b"\xff\xfe", b"[" * 100_000, b"{" * 1000, b"1" * 5000]
    for stream in STREAMS.glob(f"{name}-*.jsonl"):
        for line in stream.read_text().splitlines():
            event = json.loads(line)
            lines += [f'{{"type":{value}}}'.encode() for value in values]
            for key in event:
                lines += [json.dumps({**event, key: json.loads(value)}).encode() for value in values]
    lines += [
        b'{"type":"usage","input_tokens":1e999,"cost_usd":NaN,"output_tokens":-1,"tool_calls":' + b"9" * 40 + b"}"
    ]
    for line in lines:
        for heard in agent.parse(Line(line)):
            if isinstance(heard, Usage):
                counts = (heard.input_tokens, heard.output_tokens, heard.cached_input_tokens, heard.tool_calls)
                assert all(0 <= (count or 0) < 2**63 for count in counts)
    agent.verdict(0)


def test_codex_is_configured_by_a_file(programs: Path) -> None:
    environment = {"OPENAI_BASE_URL": 'http://model/v1?"quoted"', "OPENAI_API_KEY": "sk-secret-value"}
    agent = open_agent(job("do it", agent="codex", environment=environment, model="-gpt", effort="high"))
    settings = tomllib.loads(agent.files(INSIDE)[".codex/config.toml"].decode())
    assert settings["model_providers"]["configured"]["base_url"] == environment["OPENAI_BASE_URL"]
    assert settings["model_providers"]["configured"]["env_key"] == "OPENAI_API_KEY"
    assert settings["model_reasoning_effort"] == "high"
    assert "--model=-gpt" in agent.command(INSIDE)
    assert settings["shell_environment_policy"]["exclude"] == ["CODEX_API_KEY", "OPENAI_API_KEY"]
    assert "sk-secret" not in str(agent.files(INSIDE)) + str(agent.command(INSIDE))
    home, temporary = agent.environment(OUTSIDE)["CODEX_HOME"], OUTSIDE.temporary
    assert not Path(home).is_relative_to(temporary)


def test_each_agent_gets_its_own_variables_and_those_of_no_agent(programs: Path) -> None:
    environment = {"OPENAI_API_KEY": "1", "CODEX_CA": "2", "ANTHROPIC_API_KEY": "3", "CLAUDE_X": "4", "NPM_TOKEN": "5"}
    environment |= {"GEMINI_API_KEY": "6", "GOOGLE_X": "7", "COPILOT_MODEL": "8", "QWEN_X": "9", "OPENCODE_X": "a"}
    given = {
        name: "".join(open_agent(job(agent=name, environment=environment, model="m")).job.environment.values())
        for name in AGENTS
    }
    expected = {"codex": "125", "claude": "345", "scripted": "5", "shell": "5", "gemini": "567", "copilot": "58"}
    assert given == {**expected, "qwen": "159", "opencode": "15a", "mini-swe-agent": "15"}


def test_agents_are_let_loose_only_inside_a_sandbox(programs: Path) -> None:
    codex, claude = (open_agent(job(agent=name)) for name in ("codex", "claude"))
    assert "--dangerously-bypass-approvals-and-sandbox" in codex.command(INSIDE)
    assert "bypassPermissions" in claude.command(INSIDE)
    assert "--sandbox" in codex.command(OUTSIDE)
    assert "acceptEdits" in claude.command(OUTSIDE)
    gemini, qwen = (open_agent(job(agent=name)) for name in ("gemini", "qwen"))
    assert "--approval-mode=yolo" in gemini.command(INSIDE) and "--approval-mode=yolo" in qwen.command(INSIDE)
    assert "--approval-mode=auto_edit" in gemini.command(OUTSIDE) and "--approval-mode=auto-edit" in qwen.command(
        OUTSIDE
    )
    copilot, opencode = (open_agent(job(agent=name, model="m")) for name in ("copilot", "opencode"))
    assert "--allow-all-tools" in copilot.command(INSIDE) and "--allow-all-tools" not in copilot.command(OUTSIDE)
    assert '"bash": "deny"' in opencode.environment(OUTSIDE)["OPENCODE_CONFIG_CONTENT"]
    assert '"permission": "allow"' in opencode.environment(INSIDE)["OPENCODE_CONFIG_CONTENT"]


def test_prompts_are_read_and_tell_of_attachments(programs: Path) -> None:
    for name in ("codex", "claude"):
        agent = open_agent(job("make it so", agent=name))
        assert agent.stdin(INSIDE, []) == b"make it so"
        assert b"- /attachments/plan.pdf" in agent.stdin(INSIDE, ["plan.pdf"])
        assert "make it so" not in " ".join(agent.command(INSIDE))
        asked = open_agent(job("what is it?", agent=name, mode="ask"))
        assert b"change no files" in asked.stdin(INSIDE, [])
        planned = open_agent(job("make it so", agent=name, mode="plan")).stdin(INSIDE, [])
        assert planned.startswith(b"Make a plan") and planned.endswith(b"make it so")
    assert "read-only" in open_agent(job(agent="codex", mode="plan")).command(OUTSIDE)


def test_an_agent_is_told_which_conflicts_to_resolve(programs: Path) -> None:
    conflict = Conflict("main", "a" * 40, ("a.txt",), ("CONFLICT (content): Merge conflict in a.txt",))
    prompt = open_agent(job("Keep ours.", agent="codex", conflict=conflict)).stdin(INSIDE, []).decode()
    assert "<<<<<<< branch-aaaaaaaaaaaa" in prompt and ">>>>>>> runner-aaaaaaaaaaaa" in prompt
    assert "- a.txt\n" in prompt and "- CONFLICT (content)" in prompt and prompt.endswith("Keep ours.")
    later = open_agent(job(agent="codex", conflict=Conflict("main", "a" * 40))).stdin(INSIDE, []).decode()
    assert "Search all files" in later
    script = open_agent(job("true", agent="shell", conflict=conflict))
    assert script.job.prompt == "true"


@pytest.mark.parametrize("name", ["codex", "claude"])
@pytest.mark.parametrize(
    "prompt", ["/login page shows no button", "/clear", "!ls", "#note", "@calc.py", "$skill", "\ufeff/x"]
)
def test_a_prompt_that_begins_like_a_command_of_the_program_is_text(programs: Path, name: str, prompt: str) -> None:
    said = open_agent(job(prompt, agent=name)).stdin(INSIDE, []).decode()
    assert said[0].isalpha() and said.endswith(f"\n\n{prompt}")


def test_missing_agents_are_reported_with_how_to_install_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    packages = {"codex": "@openai/codex", "claude": "@anthropic-ai/claude-code", "gemini": "@google/gemini-cli"}
    packages |= {"copilot": "@github/copilot", "opencode": "opencode-ai", "qwen": "@qwen-code/qwen-code"}
    for name, install in {**packages, "mini-swe-agent": "pipx install mini-swe-agent"}.items():
        with pytest.raises(EngineError, match=install) as failure:
            open_agent(job(agent=name))
        assert failure.value.code == "agent_not_installed"
        assert install in str(find_missing(name))
    assert find_missing("shell") is None


def test_an_unknown_agent_is_reported_with_those_that_are_known() -> None:
    with pytest.raises(EngineError, match=r"claude, codex, copilot, gemini, .* scripted, shell") as failure:
        open_agent(job(agent="hal"))
    assert failure.value.code == "agent_unknown"
    assert "hal" in str(find_missing("hal"))
    assert set(AGENTS) == {"claude", "codex", "scripted", "shell", *EDITS}


def test_a_program_from_npm_needs_its_modules_and_node(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The node of a wheel would take precedence.
    monkeypatch.setattr(sys, "path", [])
    package = tmp_path / "lib" / "node_modules" / "@openai" / "codex"
    package.mkdir(parents=True)
    script = package / "codex.js"
    script.write_text("#!/usr/bin/env node\n")
    script.chmod(0o755)
    (programs / "codex").unlink()
    (programs / "codex").symlink_to(script)
    installed = find_installed("codex")
    assert installed
    assert installed.command == (str(programs / "node"), str(script))
    assert installed.runtime_paths == (tmp_path / "lib" / "node_modules", programs / "node")


def test_the_version_of_a_program_is_that_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "node_modules" / "thing"
    (package / "bin").mkdir(parents=True)
    (package / "package.json").write_text('{"name": "thing", "version": "1.2.3"}')
    assert find_version(Installed((str(package / "bin" / "thing"),), ())) == "1.2.3"
    wheel = tmp_path / "site-packages" / "some_wheel"
    (wheel / "bin").mkdir(parents=True)
    (tmp_path / "site-packages" / "some_wheel-4.5.dist-info").mkdir()
    assert find_version(Installed((str(wheel / "bin" / "thing"),), ())) == "4.5"
    (wheel / "_cli_version.py").write_text('__cli_version__ = "6.7"\n')
    assert find_version(Installed((str(wheel / "bin" / "thing"),), ())) == "6.7"
    assert find_version(Installed((str(tmp_path / "thing"),), ())) is None


def test_a_single_program_needs_only_itself(programs: Path) -> None:
    installed = find_installed("claude")
    assert installed
    assert installed.runtime_paths == (programs / "claude",)


def test_a_program_needs_what_lies_beside_it_under_its_name(programs: Path, tmp_path: Path) -> None:
    package = tmp_path / "package" / "bin"
    package.mkdir(parents=True)
    for name in ("codex", "codex-code-mode-host", "other"):
        (package / name).write_bytes(b"\x7fELF")
        (package / name).chmod(0o755)
    (programs / "codex").unlink()
    (programs / "codex").symlink_to(package / "codex")
    installed = find_installed("codex")
    assert installed and installed.runtime_paths == (package / "codex", package / "codex-code-mode-host")
    (package.parent / "codex-package.json").touch()
    installed = find_installed("codex")
    assert installed and installed.runtime_paths == (package.parent,)
    assert find_missing("codex") is None
    (package / "codex-code-mode-host").unlink()
    assert str(package / "codex-code-mode-host") in str(find_missing("codex"))
    with pytest.raises(EngineError, match="codex-code-mode-host") as failure:
        open_agent(job(agent="codex"))
    assert failure.value.code == "agent_not_installed"


def test_codex_without_its_tools_has_failed_although_it_says_that_it_is_done(programs: Path) -> None:
    agent = open_agent(job(agent="codex"))
    said = "Code Mode is unavailable because failed to spawn code-mode host /bin/codex-code-mode-host: not found."
    warning = {"type": "item.completed", "item": {"type": "error", "message": said}}
    done = {"type": "turn.completed", "usage": {"input_tokens": 1, "output_tokens": 1}}
    for event in (warning, done):
        list(agent.parse(Line(json.dumps(event).encode())))
    failure = agent.verdict(0)
    assert failure and failure.code == "agent_failed" and said in failure.message
    replay(agent, "codex-edit")
    assert agent.verdict(0) is None, "another way to its tools is as good"


def test_a_program_may_come_in_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_wheel_of_a_test"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "bin" / "thing").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    installed = find_installed("thing", "some_wheel_of_a_test/bin")
    assert installed
    assert (installed.command, installed.runtime_paths) == ((str(package / "bin" / "thing"),), (package,))


def test_a_script_reports_like_an_agent() -> None:
    agent = open_agent(job(agent="scripted"))
    says = [
        b'{"type": "step", "title": "Looking", "message": "around", "category": "search", "ref": "1"}',
        b'{"type": "usage", "input_tokens": 5, "cost_usd": 0.5}',
        b"plain words",
        b'{"type": "title", "text": "A title"}',
        b'{"type": "result", "text": "All done"}',
    ]
    events = [event for line in says for event in agent.parse(Line(line))] + list(agent.tick(ended=True))
    looking = Step("Looking", "around", category="search", ref="1")
    words = Step("plain words", category="message")
    assert events == [looking, Usage(input_tokens=5, cost_usd=0.5), words]
    assert (agent.title, agent.result, agent.verdict(0)) == ("A title", "All done", None)


def test_a_flood_becomes_a_few_steps() -> None:
    output = PlainOutput(Secrets())
    steps = [step for number in range(200_000) for step in output.feed(f"line {number}")] + list(output.flush())
    assert 1 <= len(steps) < 20
    assert steps[0].title == "line 0"
    assert "lines were left out]" in steps[-1].message
    assert steps[-1].message.endswith("line 199999")
    assert all(len(step.message) < 16_000 for step in steps)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("10 %\r50 %\r100 %", "100 %"),
        ("10 %\r100 %\r", "100 %"),
        ("one\r\x1b[2K\x1b[1Gtwo\x1b[K", "two"),
        ("see \x1b]8;;https://example.com\x1b\\the page\x1b]8;;\x1b\\ now", "see the page now"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b[1;31mred\x1b[0m \x1b(Bplain\x1b[?25l", "red plain"),
        ("cut off \x1b]8;;https://exa", "cut off "),
        ("cut off \x1b[3", "cut off "),
        ("a\tb \x07\x00é \u4e2d", "a\tb   é \u4e2d"),
        ("\r\r", ""),
    ],
)
def test_what_is_meant_for_a_terminal_becomes_plain_text(line: str, kept: str) -> None:
    assert plain(line) == kept


@pytest.mark.parametrize(
    "part", ["\x1b]", "\x1b[", "\x1b[0", "\r", "x\r", "\x1b", "\x1b]8;;\x1b", "\x1bP\x1b\\", "\x1b "]
)
def test_plain_text_is_found_in_linear_time(part: str) -> None:
    started = time.thread_time()
    plain(part * 300_000)
    assert time.thread_time() - started < 60


def test_the_first_lines_after_a_step_and_a_silence_are_shown_at_once() -> None:
    output, shown = PlainOutput(Secrets()), []
    lines: list[tuple[float, float]] = []
    while len(shown) < 4:
        began = time.monotonic()
        steps = list(output.feed("more"))
        lines.append((began, time.monotonic()))
        if steps:
            shown.append(lines)
            lines = []
            time.sleep(1 if len(shown) == 2 else 0)
        time.sleep(0.005)
    # Of the lines that are shown together, the last one comes when it is time to show them. No earlier one did.
    for lines, seconds in zip(shown, (0.6, 0.6, 0.1, 0.6), strict=True):
        assert all(began - lines[0][1] < seconds for began, _ in lines[:-1])
    assert shown[0][-1][1] - shown[0][0][0] >= 0.5
    assert all(later[-1][1] - earlier[-1][0] >= 0.5 for earlier, later in itertools.pairwise(shown))


def test_output_that_comes_slowly_is_shown_soon() -> None:
    output = PlainOutput(Secrets())
    assert list(output.feed("\x1b[31mred\x1b[0m")) == []
    assert list(output.flush()) == [Step("red", category="message")]
    assert list(output.flush()) == []


@pytest.mark.parametrize(
    ("agent", "variables", "hosts"),
    [
        ("codex", {}, ("api.openai.com:443",)),
        ("codex", {"OPENAI_BASE_URL": "http://127.0.0.1:8000/v1"}, ("127.0.0.1:8000",)),
        ("codex", {"ANTHROPIC_BASE_URL": "https://elsewhere.example"}, ("api.openai.com:443",)),
        ("claude", {}, ("api.anthropic.com:443",)),
        ("claude", {"ANTHROPIC_BASE_URL": "http://models.example"}, ("models.example:80",)),
        ("claude", {"ANTHROPIC_BASE_URL": "https://[::1]:8443/v1"}, ("[::1]:8443",)),
        ("shell", {"OPENAI_BASE_URL": "https://models.example"}, ()),
        ("gemini", {}, ("generativelanguage.googleapis.com:443",)),
        ("qwen", {"OPENAI_BASE_URL": "https://models.example/v1"}, ("models.example:443",)),
    ],
)
def test_an_agent_reaches_the_host_of_its_model(
    programs: Path, agent: str, variables: dict[str, str], hosts: tuple[str, ...]
) -> None:
    assert open_agent(job(agent=agent, environment=variables)).model_hosts == hosts
