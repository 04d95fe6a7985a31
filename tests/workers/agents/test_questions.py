"""What agents ask: the tool that they ask by, and what becomes of their questions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from app.redaction.secrets import Secrets
from tests.workers.agents.test_adapters import INSIDE
from tests.workers.attempts import engine_in
from tests.workers.engine import job
from workers.agents import ask_server
from workers.agents.questions import read_questions
from workers.agents.registry import AGENTS, open_agent
from workers.agents.tool_servers import left_out
from workers.events import Question, Step
from workers.job import BoundSecret, McpServer

QUESTION = {"question": "Which sign?", "choices": ["plus", "minus"]}
SECRET = "sk-0123456789abcdef-0123456789"


def served(path: Path, *calls: dict[str, object]) -> list[dict[str, object]]:
    """What the server answers to requests."""
    lines = [json.dumps({"jsonrpc": "2.0", "id": number, **call}) for number, call in enumerate(calls)]
    command = [sys.executable, "-I", "-S", ask_server.__file__, str(path)]
    done = subprocess.run(command, input="\n".join(["no JSON", *lines, ""]).encode(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def asked(*questions: object) -> dict[str, object]:
    return {"method": "tools/call", "params": {"name": "ask", "arguments": {"questions": list(questions)}}}


def test_the_server_takes_questions_within_bounds_and_once(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    wrong = [
        asked(),
        asked(*[QUESTION] * 4),
        asked({"question": " "}),
        asked({**QUESTION, "choices": ["x" * 201]}),
        asked(7),
    ]
    hello = {"method": "initialize", "params": {"protocolVersion": "2025-03-26"}}
    started, listed, *refused, taken, again, other = served(
        path, hello, {"method": "tools/list"}, *wrong, asked(QUESTION), asked(QUESTION), {"method": "resources/list"}
    )
    assert started["result"]["protocolVersion"] == "2025-03-26"  # type: ignore[index]
    assert [tool["name"] for tool in listed["result"]["tools"]] == ["ask"]  # type: ignore[index]
    assert [each["result"]["isError"] for each in (*refused, taken, again)] == [True] * 5 + [False, True]  # type: ignore[index]
    assert "End your turn" in str(taken) and "asked already" in str(again) and "error" in other
    assert json.loads(path.read_text()) == [QUESTION]


@pytest.mark.parametrize(
    ("left", "questions"),
    [
        ([QUESTION], (Question("Which sign?", ("plus", "minus")),)),
        ([{"question": "a\x1b[31m\x00b", "choices": ["x\ny", "x y", 7, " "]}], (Question("a b", ("x y",)),)),
        ([{"question": str(number)} for number in range(9)], tuple(Question(str(number)) for number in range(3))),
        ([{"question": " "}, {"choices": []}, 7], ()),
        ({"question": "x"}, ()),
    ],
)
def test_what_is_left_in_the_file_is_checked(tmp_path: Path, left: object, questions: tuple[Question, ...]) -> None:
    (tmp_path / ".agent-runners").mkdir()
    (tmp_path / ".agent-runners/questions.json").write_text(json.dumps(left))
    assert read_questions(tmp_path) == questions


def test_only_a_file_is_read(tmp_path: Path) -> None:
    assert read_questions(tmp_path) == ()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/questions.json").write_text(json.dumps([QUESTION]))
    (tmp_path / ".agent-runners").symlink_to("other")
    assert read_questions(tmp_path) == ()
    (tmp_path / ".agent-runners").unlink()
    (tmp_path / ".agent-runners").mkdir()
    path = tmp_path / ".agent-runners/questions.json"
    path.symlink_to(tmp_path / "other/questions.json")
    assert read_questions(tmp_path) == ()
    path.unlink()
    os.mkfifo(path)
    assert read_questions(tmp_path) == ()
    path.unlink()
    path.write_text("[" * 100_000)
    assert read_questions(tmp_path) == ()


def test_questions_are_redacted_and_cut_and_end_the_session_with_its_work_kept(tmp_path: Path) -> None:
    questions = [{"question": f"Use {SECRET}?", "choices": [SECRET, "no"]}, {"question": f"{'x' * 990}{SECRET}"}]
    event = json.dumps({"type": "questions", "questions": questions})
    script = f"echo kept >new.txt\necho '{event}'\n"
    with engine_in(tmp_path, "none") as engine:
        may = engine.run(script, agent="scripted", secrets=Secrets(SECRET))
        may_not = engine.run(script, agent="scripted", secrets=Secrets(SECRET), may_ask=False)
    assert may.outcome.failure is None and "+kept" in engine.diff
    first, second = may.outcome.questions
    assert first == Question("Use [redacted]?", ("[redacted]", "no"))
    assert second.text == "x" * 990 + "[redacted]" and SECRET not in may.text
    step = next(each for each in may.events if isinstance(each, Step) and each.category == "question")
    assert "waits for an answer" in step.title and "1. Use [redacted]?" in step.message
    assert may_not.outcome.questions == () and "The agent asked, but may not in this session" in may_not.steps


@pytest.mark.parametrize("name", [name for name, agent in AGENTS.items() if agent.speaks_mcp])
def test_each_program_is_given_the_tool_in_its_own_way_unless_it_may_not_ask(programs: Path, name: str) -> None:
    def given(may_ask: bool) -> str:
        agent = open_agent(job(agent=name, model="a-model", may_ask=may_ask))
        files = agent.files(INSIDE)
        for path, content in files.items():
            tomllib.loads(content.decode()) if path.endswith(".toml") else None
        texts = [
            *agent.command(INSIDE),
            *agent.environment(INSIDE).values(),
            *(text.decode() for text in files.values()),
        ]
        return "\n".join(texts)

    assert "/home/agent/.agent-runners/ask_server.py" in given(True)
    assert "ask_server" not in given(False)


@pytest.mark.parametrize("name", [name for name, agent in AGENTS.items() if agent.speaks_mcp])
def test_each_program_is_given_the_servers_of_the_site_in_its_own_way(programs: Path, name: str) -> None:
    servers = (
        McpServer("docs", ("npx", "docs"), variables=("REGION", "OTHER"), disabled_tools=("delete",)),
        McpServer("linear", url="https://linear.example/mcp?v=2", credential="TOKEN"),
        McpServer("missing", url="https://missing.example/mcp", credential="OTHER"),
    )
    variables = {
        "REGION": "the-north",
        "TOKEN_URL": "http://127.0.0.1:3129/random/",
        "OTHER_URL": "http://127.0.0.1:3129/other/",
    }
    bound = tuple(
        BoundSecret(name, "https://linear.example", "authorization", "Bearer ", "x") for name in ("TOKEN", "OTHER")
    )
    agent = open_agent(
        job(agent=name, model="a-model", mcp_servers=servers, environment=variables, bound_secrets=bound)
    )
    texts = [text.decode() for text in agent.files(INSIDE).values()]
    given = "\n".join([*agent.command(INSIDE), *agent.environment(INSIDE).values(), *texts])
    for what in ("npx", "the-north", "http://127.0.0.1:3129/random/mcp?v=2", "delete"):
        assert what in given
    assert "missing" not in given and "linear.example" not in given
    assert not any("the-north" in word for word in agent.command(INSIDE)), "values are on no command line"
    step = left_out(agent.job, speaks_mcp=True, can_disable_tools=False)
    assert step and "missing: no secret OTHER" in step.message and "docs: " in step.message
