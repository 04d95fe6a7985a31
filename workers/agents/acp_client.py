"""A client of the Agent Client Protocol for one prompt. It runs beside the agent inside the sandbox, and so may allow
whatever the agent asks for. It imports nothing of ours, and nothing that is not in Python.

`python acp_client.py CHECKOUT MODEL MODE COMMAND ...` starts the command, hands it the prompt from standard input, and
prints each message of it as a line. Two lines of our own: `{"acp": "done", ...}` with the answer to the prompt, and
`{"acp": "failed", "message": ...}`. The agent's standard error is passed on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

_NO_METHOD = -32601


class Failed(Exception):
    """The agent refused a call, or ended before it answered."""


class Client:
    """Speaks with one agent over its standard input and output."""

    def __init__(self, command: list[str], asks: bool) -> None:
        self._agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._calls = 0
        self._asks = asks

    def call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Call a method of the agent, and serve its own calls until it answers. Raises `Failed`."""
        self._calls += 1
        self._send({"id": self._calls, "method": method, "params": parameters})
        assert self._agent.stdout
        for line in self._agent.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                continue
            if not isinstance(message, dict):
                continue
            if "method" in message:
                _print(message)
                if "id" in message:
                    self._send({"id": message["id"], **self._answer(message)})
            elif message.get("id") == self._calls:
                if "error" in message:
                    raise Failed(_words(message["error"]))
                result = message.get("result")
                return result if isinstance(result, dict) else {}
        raise Failed(f"It ended with exit status {self._agent.wait()} before it answered {method}.")

    def close(self) -> None:
        """Close the agent's input and end the agent."""
        assert self._agent.stdin
        self._agent.stdin.close()
        self._agent.terminate()
        self._agent.wait()

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        parameters = message.get("params")
        if message["method"] == "session/request_permission" and isinstance(parameters, dict):
            return {"result": {"outcome": self._choice(parameters)}}
        return {"error": {"code": _NO_METHOD, "message": f"there is no {message['method']}"}}

    def _choice(self, given: dict[str, Any]) -> dict[str, Any]:
        """Allow once what the agent asks for, unless a person should have been asked."""
        wanted = ("reject_once", "reject_always") if self._asks else ("allow_once", "allow_always")
        options = given.get("options")
        for kind in wanted:
            for option in options if isinstance(options, list) else []:
                if isinstance(option, dict) and option.get("kind") == kind:
                    return {"outcome": "selected", "optionId": option.get("optionId")}
        return {"outcome": "cancelled"}

    def _send(self, message: dict[str, Any]) -> None:
        assert self._agent.stdin
        try:
            self._agent.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            self._agent.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"It ended with exit status {self._agent.wait()}.") from None


def main(checkout: str, model: str, asks: str, *command: str) -> int:
    """Run one prompt. `asks` is `1` where the agent may not do what it would ask a person about."""
    prompt = sys.stdin.buffer.read().decode(errors="replace")
    # The agent reads and writes files itself: it is where they are.
    files = {"readTextFile": False, "writeTextFile": False}
    information = {"name": "agent-runners", "title": "Agent Runners", "version": "1"}
    opening = {"protocolVersion": 1, "clientCapabilities": {"fs": files}, "clientInfo": information}
    try:
        client = Client(list(command), asks == "1")
        client.call("initialize", opening)
        session = client.call("session/new", {"cwd": checkout, "mcpServers": []}).get("sessionId")
        if model:
            client.call("session/set_model", {"sessionId": session, "modelId": model})
        said = {"sessionId": session, "prompt": [{"type": "text", "text": prompt}]}
        _print({"acp": "done", **client.call("session/prompt", said)})
        client.close()
    except (Failed, OSError) as failure:
        _print({"acp": "failed", "message": str(failure)})
        return 1
    return 0


def _words(error: object) -> str:
    if not isinstance(error, dict):
        return str(error)
    data = error.get("data")
    return f"{error.get('message')}" + (f": {data if isinstance(data, str) else json.dumps(data)}" if data else "")


def _print(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
