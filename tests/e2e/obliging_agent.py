"""An agent that needs no model: it speaks ACP, and writes its prompt into `notes.txt`.

A prompt that ends with a question, such as `Plus or minus?`, it asks back by the tool `ask`, with its words before and
after `or` as choices. The last line of any other prompt it adds to the file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any


def send(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def work(prompt: str, servers: list[dict[str, Any]]) -> Iterator[str]:
    """Do what the prompt says; what the agent says about it."""
    last = prompt.strip().splitlines()[-1]
    if last.endswith("?"):
        ask(next(each for each in servers if each["name"] == "questions"), last)
        yield "I cannot decide this."
        return
    with open("notes.txt", "a") as file:
        file.write(f"{last}\n")
    yield f"I wrote down: {last}"


def ask(server: dict[str, Any], question: str) -> None:
    """Call the tool of the server, which the engine runs no other way than agents do."""
    choices = [word.strip() for word in question.rstrip("?").lower().split(" or ")]
    arguments = {"questions": [{"question": question, "choices": choices}]}
    calls = [
        {"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}},
        {"id": 2, "method": "tools/call", "params": {"name": "ask", "arguments": arguments}},
    ]
    lines = "".join(json.dumps({"jsonrpc": "2.0", **call}) + "\n" for call in calls)
    command = [server["command"], *server["args"]]
    answers = subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    assert not json.loads(answers[-1])["result"]["isError"], answers


def main() -> None:
    servers: list[dict[str, Any]] = []
    for line in sys.stdin:
        call = json.loads(line)
        result: dict[str, Any] = {}
        if call["method"] == "initialize":
            result = {"protocolVersion": 1, "agentCapabilities": {}}
        elif call["method"] == "session/new":
            servers, result = call["params"]["mcpServers"], {"sessionId": "one"}
        elif call["method"] == "session/prompt":
            for text in work(call["params"]["prompt"][0]["text"], servers):
                update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
                send({"method": "session/update", "params": {"sessionId": "one", "update": update}})
            result = {"stopReason": "end_turn"}
        send({"id": call["id"], "result": result})


if __name__ == "__main__":
    main()
