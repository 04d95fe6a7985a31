"""An agent hands work to others through the Model Context Protocol, as the official client speaks it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from app.client import Client
from app.mcp import answers
from app.models.states import SessionState
from app.services.execution.outcomes import Failure
from tests.cli.remote.conftest import Run
from tests.cli.remote.test_running import CHANGE

if TYPE_CHECKING:
    from mcp import Client as McpClient

# What MCP is made of takes a second to import, so only the process that runs this group does, and not before.
pytestmark = [pytest.mark.same_on_both_databases, pytest.mark.xdist_group("mcp")]
Call = Callable[..., tuple[bool, str]]


@pytest.fixture
def connect(client: Client) -> Callable[[], McpClient]:
    """Connect the official client to a server whose way to the API is `client`."""
    from mcp import Client as McpClient

    from app.mcp.server import create_server

    server = create_server(lambda: client)
    return lambda: McpClient(server)


@pytest.fixture
def call(connect: Callable[[], McpClient]) -> Call:
    """Call a tool: whether it is an error, and its text."""

    async def ask(name: str, arguments: dict[str, Any]) -> tuple[bool, str]:
        async with connect() as caller:
            answer = await caller.call_tool(name, arguments)
        return bool(answer.is_error), answer.content[0].text

    return lambda name, **arguments: asyncio.run(ask(name, arguments))


def test_every_tool_says_what_it_is_for(connect: Callable[[], McpClient]) -> None:
    async def listed() -> list[Any]:
        async with connect() as caller:
            return (await caller.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(listed())}
    work = {
        "start_run",
        "follow_up",
        "answer_question",
        "get_run",
        "list_runs",
        "get_diff",
        "stop_run",
        "publish",
        "list_sites",
    }
    assert tools.keys() == work and all(len(tool.description) > 20 for tool in tools.values())
    assert "Do not call it" in tools["start_run"].description


def test_work_is_handed_over_read_and_corrected(
    call: Call, client: Client, site: dict[str, Any], when_started: Any, worker: Any
) -> None:
    assert "shop  https://github.com/example/shop.git" in call("list_sites")[1]
    when_started(diff=CHANGE, result="It is b now.")
    failed, text = call("start_run", site="shop", prompt="Make it b", agent="codex", wait_seconds=50)
    assert not failed and "DONE" in text and "It is b now." in text and "get_diff" in text
    run = client.runners()[0]["id"]
    assert run in text
    assert "Page 1 of 1, 1 files in all." in call("get_diff", run=run)[1] and "+b\n" in call("get_diff", run=run)[1]
    assert "Call get_run again" in call("follow_up", run=run, prompt="And c")[1]
    assert run in call("list_runs", state="NEW")[1] and "no such runs" in call("list_runs", state="ERROR")[1]
    assert "CANCELLED" in call("stop_run", run=run)[1]


def test_a_question_is_shown_and_answered(call: Call, client: Client, site: dict[str, Any], worker: Any) -> None:
    runner = client.create_runner(site["id"], "Make it b", agent="codex")
    worker.run(runner["latest_session_id"], questions=[{"question": "Which one?", "choices": ["b", "c"]}])
    assert "Call answer_question:\n1. Which one?\n   - b\n   - c\n" in call("get_run", run=runner["id"])[1]
    failed, text = call("answer_question", run=runner["id"], answers=["b", "c"])
    assert failed and "asks 1 question" in text
    assert "NEW" in call("answer_question", run=runner["id"], answers=["b"])[1]
    assert "Answer: b" in client.sessions(runner["id"])[-1]["prompt"]


def test_a_failure_says_what_to_do(call: Call, client: Client, site: dict[str, Any], worker: Any) -> None:
    runner = client.create_runner(site["id"], "Make it b", agent="codex")
    failure = Failure("agent_auth", "agent", False, "Set a valid key.")
    worker.run(runner["latest_session_id"], state=SessionState.ERROR, failure=failure)
    assert "(agent_auth): Set a valid key." in call("get_run", run=runner["id"])[1]


def test_refusals_are_sentences(call: Call, site: dict[str, Any], client: Client, worker: Any) -> None:
    failed, text = call("start_run", site="shoe", prompt="x")
    assert failed and "No site is named 'shoe'" in text and "shop" in text
    for run in ("00000000-0000-7000-8000-000000000000", "../sites"):
        failed, text = call("get_run", run=run)
        assert failed and "not_found]" in text
    runner = client.create_runner(site["id"], "Make it b", agent="codex")
    failed, text = call("follow_up", run=runner["id"], prompt="x")
    assert failed and "[active_session_exists]" in text
    worker.run(runner["latest_session_id"], CHANGE)
    failed, text = call("publish", run=runner["id"], branch="main")
    assert failed and "protected" in text


def test_a_publication_is_followed_by_reading_the_run(
    call: Call, client: Client, site: dict[str, Any], worker: Any
) -> None:
    runner = client.create_runner(site["id"], "Make it b", agent="codex")
    worker.run(runner["latest_session_id"], CHANGE)
    published = client.commit(runner["id"], "notes")
    assert "being published now" in call("get_run", run=runner["id"])[1]
    assert "still being published" in answers.describe_publication(published, None, None), "and waited for long"


def test_answers_have_a_bounded_length() -> None:
    text = answers.show_diff("+" * 10**6, 1, 41, 20)
    assert len(text) < 1.1 * answers.LONGEST_DIFF and "Page 1 of 3" in text and "page=2" in text and "[cut" in text


def test_it_needs_a_login(run_logged_out: Run) -> None:
    assert "not logged in" in run_logged_out("mcp").stderr
