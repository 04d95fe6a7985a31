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
from workers.job import Job, Usage
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
    assert agent.command(INSIDE)[-5:] == ["/workspace", "a-model", "0", program, "--acp"]
    assert agent.command(OUTSIDE)[-3] == "1", "without a sandbox it may not do what it would ask a person about"
    assert agent.stdin(INSIDE, []) == b"make it so"


def test_one_whose_program_is_missing_is_reported() -> None:
    assert "not-there is not installed" in str(find_missing("not-there", (("not-there", ("not-there",)),)))


AGENT = """
import json, sys
def answer(call, **what): print(json.dumps({"jsonrpc": "2.0", "id": call["id"], **what}), flush=True)
def ask(method, **params):
    print(json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}), flush=True)
    return json.loads(sys.stdin.readline())
for line in sys.stdin:
    call = json.loads(line)
    if call["method"] == "initialize": answer(call, result={"protocolVersion": 1})
    elif call["method"] == "session/new": answer(call, result={"sessionId": "s"})
    else:
        options = [{"optionId": kind, "kind": kind} for kind in ("allow_always", "allow_once", "reject_once")]
        print("no JSON", flush=True)
        answers = [
            ask("session/request_permission", options=options)["result"]["outcome"]["optionId"],
            ask("terminal/create")["error"]["code"],
            call["params"]["prompt"][0]["text"],
        ]
        answer(call, result={"stopReason": "end_turn", "answers": answers})
"""


@pytest.mark.parametrize("asks", ["0", "1"])
def test_the_client_allows_what_an_agent_asks_for_in_a_sandbox_only(tmp_path: Path, asks: str) -> None:
    command = [sys.executable, "-I", "-S", acp_client.__file__, str(tmp_path), "", asks, sys.executable, "-c", AGENT]
    done = subprocess.run(command, input="héllo\n".encode(), cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    choice = "reject_once" if asks == "1" else "allow_once"
    assert last["answers"] == [choice, -32601, "héllo\n"]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("pass", "It ended with exit status 0"),
        ("import sys; sys.exit(3)", "It ended with exit status 3"),
        ('print(\'{"id": 1, "error": {"message": "no", "data": "key"}}\'); input(); input()', "no: key"),
    ],
)
def test_the_client_says_why_an_agent_could_not_go_on(tmp_path: Path, code: str, words: str) -> None:
    command = [sys.executable, "-I", "-S", acp_client.__file__, str(tmp_path), "", "0", sys.executable, "-c", code]
    done = subprocess.run(command, input=b"x", capture_output=True, timeout=60)
    assert done.returncode == 1
    assert words in json.loads(done.stdout.splitlines()[-1])["message"]
