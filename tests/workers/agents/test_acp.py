"""Agents that speak the Agent Client Protocol, from recorded messages of real ones, and the client of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.workers.agents.test_adapters import INSIDE, OUTSIDE, grouped, replay, titles, verdict
from tests.workers.engine import job
from workers.agents import acp_client
from workers.agents.base import Agent
from workers.agents.registry import find_missing, open_agent
from workers.events import Usage
from workers.job import Job
from workers.processes.lines import Line

CONFIGURED = (("mine", ("gemini", "--acp")),)
KEYS = {"OPENAI_API_KEY": "1", "ANTHROPIC_BASE_URL": "https://models.example", "OPENAI_BASE_URL": "http://other:81/v1"}


def mine(**more: object) -> Agent:
    work: Job = job("make it so", agent="mine", **more)
    return open_agent(work, CONFIGURED)


def said(agent: Agent, *messages: dict[str, object]) -> list[object]:
    return [event for message in messages for event in agent.parse(Line(json.dumps(message).encode()))]


def update(kind: str, **fields: object) -> dict[str, object]:
    return {"method": "session/update", "params": {"update": {"sessionUpdate": kind, **fields}}}


def test_the_messages_of_two_agents_become_steps(programs: Path) -> None:
    agent = mine()
    events = replay(agent, "acp-gemini")
    assert agent.result == titles(events)[-1] == "Done: the requested change is in place."
    assert [category for category, _ in grouped(events)][:2] == ["read", "read"]
    assert "edit" in [category for category, _ in grouped(events)] and verdict(agent, 0) is None
    agent = mine()
    events = replay(agent, "acp-opencode")
    assert [category for category, _ in grouped(events)] == ["read", "read", "edit", "edit", "message"]
    assert agent.usage == Usage(1000, 25, 50, None, 2) and verdict(agent, 0) is None


def test_plans_and_thoughts_are_shown_and_what_is_said_in_pieces_is_one_step(programs: Path) -> None:
    agent = mine()
    pieces = [update("agent_thought_chunk", content={"type": "text", "text": text}) for text in ("Hm", ", well.")]
    plan = update("plan", entries=[{"content": "Read", "status": "completed"}, {"content": "Write"}])
    thought, listed = said(agent, *pieces, plan)
    assert (thought.title, thought.category) == ("Hm, well.", "reasoning")  # type: ignore[attr-defined]
    assert (listed.title, listed.category) == ("Plan: 1 of 2 done", "plan")  # type: ignore[attr-defined]


def test_a_call_is_shown_once_the_agent_says_what_it_is_about(programs: Path) -> None:
    begun: dict[str, object] = {"toolCallId": "1", "title": "Edit", "rawInput": {}, "locations": []}
    named = {"toolCallId": "1", "title": "Edit a.txt", "rawInput": {"file_path": "a.txt"}, "status": "in_progress"}
    ended = {"toolCallId": "1", "status": "completed"}
    agent = mine()
    assert said(agent, update("tool_call", **begun)) == []
    assert titles(said(agent, update("tool_call_update", **named))) == ["Edit a.txt"]  # type: ignore[arg-type]
    assert titles(said(agent, update("tool_call_update", **ended))) == ["Result of Edit a.txt"]  # type: ignore[arg-type]


def test_a_call_that_ends_without_a_name_is_shown(programs: Path) -> None:
    begun: dict[str, object] = {"toolCallId": "1", "title": "list", "rawInput": {}, "status": "pending"}
    parsed = said(mine(), update("tool_call", **begun), update("tool_call_update", toolCallId="1", status="failed"))
    assert titles(parsed) == ["list", "Failed: list"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"acp": "failed", "message": "Authentication required"}, ("agent_auth", False)),
        ({"acp": "failed", "message": "429: quota"}, ("agent_rate_limited", True)),
        ({"acp": "done", "stopReason": "refusal"}, ("agent_failed", False)),
        ({"acp": "other"}, ("agent_no_result", True)),
    ],
)
def test_failures_are_distinguished(programs: Path, message: dict[str, object], expected: tuple[str, bool]) -> None:
    agent = mine()
    said(agent, message)
    assert verdict(agent, 0) == expected


def test_it_gets_all_variables_and_reaches_the_hosts_that_they_name(programs: Path) -> None:
    agent = mine(environment=KEYS, model="a-model")
    assert agent.job.environment == KEYS
    assert agent.model_hosts == ("models.example:443", "other:81")
    program = str(programs / "gemini")
    servers = "/home/agent/.agent-runners/mcp.json"
    assert agent.command(INSIDE)[-7:] == ["/workspace", servers, "a-model", "0", "", program, "--acp"]
    assert agent.command(OUTSIDE)[-4] == "1", "without a sandbox it may not do what it would ask a person about"
    assert agent.stdin(INSIDE, []) == b"make it so"


def test_its_program_may_be_named_by_its_path(programs: Path) -> None:
    (programs / "gemini-helper").touch()
    agent = open_agent(job("make it so", agent="mine"), (("mine", (str(programs / "gemini"), "--acp")),))
    assert agent.command(INSIDE)[-2:] == [str(programs / "gemini"), "--acp"]
    assert agent.runtime_paths == (programs / "gemini", programs / "gemini-helper")


def test_one_whose_program_is_missing_is_reported() -> None:
    assert "not-there is not installed" in str(find_missing("not-there", (("not-there", ("not-there",)),)))


AGENT = """
import json, signal, sys, time
if "stays" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
def answer(call, **what): print(json.dumps({"jsonrpc": "2.0", "id": call["id"], **what}), flush=True)
def ask(method, **params):
    print(json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}), flush=True)
    return json.loads(sys.stdin.readline())
for line in sys.stdin:
    call = json.loads(line)
    if call["method"] == "initialize":
        answer(call, result={"protocolVersion": 1, "agentCapabilities": {"loadSession": len(sys.argv) == 1}})
    elif call["method"] == "session/new":
        assert call["params"]["mcpServers"] == [{"name": "questions"}]
        answer(call, result={"sessionId": "s"})
    elif call["method"] == "session/load":
        repeated = json.dumps({"jsonrpc": "2.0", "method": "session/update", "params": {"repeated": 1}})
        print(repeated, flush=True)
        answer(call, result={}) if call["params"]["sessionId"] == "s" else answer(call, error={"message": "gone"})
        print(repeated, flush=True)
    else:
        options = [{"optionId": kind, "kind": kind} for kind in ("allow_always", "allow_once", "reject_once")]
        print("no JSON", flush=True)
        print("[" * 100_000, flush=True)
        answers = [
            ask("session/request_permission", options=options)["result"]["outcome"]["optionId"],
            ask("terminal/create")["error"]["code"],
            call["params"]["prompt"][0]["text"],
        ]
        answer(call, result={"stopReason": "end_turn", "answers": answers})
if "stays" in sys.argv: time.sleep(600)
"""


def speak(folder: Path, asks: str, earlier: str, *more: str) -> subprocess.CompletedProcess[bytes]:
    """Have the client speak with the agent of above."""
    servers = folder / "mcp.json"
    # This agent takes none at a URL.
    servers.write_text('[{"name": "questions"}, {"name": "remote", "url": "https://a.example"}]')
    given = (acp_client.__file__, str(folder), str(servers), "", asks, earlier, sys.executable, "-c", AGENT, *more)
    command = [sys.executable, "-I", "-S", *given]
    return subprocess.run(command, input="héllo\n".encode(), cwd=folder, capture_output=True, timeout=60)


def test_the_client_goes_on_with_a_session_and_shows_nothing_twice(tmp_path: Path, programs: Path) -> None:
    agent = mine()
    for earlier in ("", "s"):
        done = speak(tmp_path, "0", earlier)
        assert done.returncode == 0 and b"repeated" not in done.stdout
        assert '{"acp": "session", "id": "s"}' in done.stdout.decode().splitlines()
    said(agent, *(json.loads(line) for line in done.stdout.splitlines()))
    assert agent.session_id == "s" and agent.finished


@pytest.mark.parametrize(("earlier", "more"), [("other", ()), ("s", ("unable",))])
def test_a_session_that_cannot_be_loaded_is_a_failure_before_any_work(
    tmp_path: Path, earlier: str, more: tuple[str, ...]
) -> None:
    done = speak(tmp_path, "0", earlier, *more)
    assert done.returncode == 1 and b'"acp": "session"' not in done.stdout


@pytest.mark.parametrize("asks", ["0", "1"])
def test_the_client_allows_what_an_agent_asks_for_in_a_sandbox_only(tmp_path: Path, asks: str) -> None:
    done = speak(tmp_path, asks, "")
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    choice = "reject_once" if asks == "1" else "allow_once"
    assert last["answers"] == [choice, -32601, "héllo\n"]


def test_the_client_kills_an_agent_that_stays_when_its_work_is_done(tmp_path: Path) -> None:
    done = speak(tmp_path, "0", "", "stays")
    assert done.returncode == 0 and b'{"acp": "done"' in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("pass", "It ended with exit status 0"),
        ("import sys; sys.exit(3)", "It ended with exit status 3"),
        ('print(\'{"id": 1, "error": {"message": "no", "data": "key"}}\'); input(); input()', "no: key"),
    ],
)
def test_the_client_says_why_an_agent_could_not_go_on(tmp_path: Path, code: str, words: str) -> None:
    (tmp_path / "mcp.json").write_text("[]")
    given = (acp_client.__file__, str(tmp_path), str(tmp_path / "mcp.json"), "", "0", "", sys.executable, "-c", code)
    command = [sys.executable, "-I", "-S", *given]
    done = subprocess.run(command, input=b"x", capture_output=True, timeout=60)
    assert done.returncode == 1
    assert words in json.loads(done.stdout.splitlines()[-1])["message"]
