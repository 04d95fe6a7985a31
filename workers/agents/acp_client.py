"""A client of the Agent Client Protocol for one prompt. It runs beside the agent inside the sandbox, and so may allow
whatever the agent asks for. It imports nothing of ours, and nothing that is not in Python.

`python acp_client.py CHECKOUT SERVERS MODEL MODE SESSION COMMAND ...` starts the command, hands it the MCP servers in
the file SERVERS and the prompt from standard input, and
prints each message of it as a line. Three lines of our own: `{"acp": "session", "id": ...}`, `{"acp": "done", ...}` with the
answer to the prompt, and `{"acp": "failed", "message": ...}`. The agent's standard error is passed on.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from typing import Any

_NO_METHOD = -32601
# Gemini CLI repeats a session that it has loaded after it has said that it is loaded.
_QUIET_SECONDS = 1.0
# Gemini CLI does not end by itself while an MCP server of it runs.
_END_SECONDS = 5.0


class Failed(Exception):
    """The agent refused a call, or ended before it answered."""


class Client:
    """Speaks with one agent over its standard input and output."""

    def __init__(self, command: list[str], asks: bool) -> None:
        self._agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        self._calls = 0
        self._asks = asks
        self._is_quiet = False

    def call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Call a method of the agent, and serve its own calls until it answers. Raises `Failed`."""
        self._calls += 1
        self._send({"id": self._calls, "method": method, "params": parameters})
        while line := self._lines.get():
            message = self._serve(line)
            if message.get("id") == self._calls and "method" not in message:
                if "error" in message:
                    raise Failed(_words(message["error"]))
                result = message.get("result")
                return result if isinstance(result, dict) else {}
        raise Failed(f"It ended with exit status {self._agent.wait()} before it answered {method}.")

    def load(self, parameters: dict[str, Any]) -> None:
        """Have the agent load a session, and print nothing of what it repeats of it. Raises `Failed`."""
        self._is_quiet = True
        self.call("session/load", parameters)
        try:
            while line := self._lines.get(timeout=_QUIET_SECONDS):
                self._serve(line)
            # The next call finds that the agent has ended, too.
            self._lines.put(b"")
        except queue.Empty:
            self._is_quiet = False

    def close(self) -> None:
        """Close the agent's input and end the agent."""
        assert self._agent.stdin
        self._agent.stdin.close()
        self._agent.terminate()
        try:
            self._agent.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._agent.kill()
            self._agent.wait()

    def _read(self) -> None:
        """Queue the lines of the agent, and an empty one at their end."""
        assert self._agent.stdout
        for line in self._agent.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def _serve(self, line: bytes) -> dict[str, Any]:
        """Print the message of a line, if the agent began it, and answer it. Returns the message; empty if it is none."""
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return {}
        if not isinstance(message, dict):
            return {}
        if "method" in message:
            if not self._is_quiet:
                _print(message)
            if "id" in message:
                self._send({"id": message["id"], **self._answer(message)})
        return message

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


def main(checkout: str, servers: str, model: str, asks: str, earlier: str, *command: str) -> int:
    """Run one prompt, in the session `earlier` if it is named. `asks` is `1` where the agent may not do what it would ask a
    person about."""
    prompt = sys.stdin.buffer.read().decode(errors="replace")
    # The agent reads and writes files itself: it is where they are.
    files = {"readTextFile": False, "writeTextFile": False}
    information = {"name": "agent-runners", "title": "Agent Runners", "version": "1"}
    opening = {"protocolVersion": 1, "clientCapabilities": {"fs": files}, "clientInfo": information}
    try:
        client = Client(list(command), asks == "1")
        able = client.call("initialize", opening).get("agentCapabilities")
        with open(servers) as file:
            place = {"cwd": checkout, "mcpServers": [each for each in json.load(file) if _takes(able, each)]}
        session: object = earlier
        if earlier:
            if not (isinstance(able, dict) and able.get("loadSession")):
                raise Failed("It cannot load a session.")
            client.load({"sessionId": earlier, **place})
        else:
            session = client.call("session/new", place).get("sessionId")
        _print({"acp": "session", "id": session})
        if model:
            client.call("session/set_model", {"sessionId": session, "modelId": model})
        said = {"sessionId": session, "prompt": [{"type": "text", "text": prompt}]}
        _print({"acp": "done", **client.call("session/prompt", said)})
        client.close()
    except (Failed, OSError) as failure:
        _print({"acp": "failed", "message": str(failure)})
        return 1
    return 0


def _takes(able: object, server: dict[str, Any]) -> bool:
    """Whether the agent takes a server. Each takes programs."""
    kinds = able.get("mcpCapabilities") if isinstance(able, dict) else None
    return "url" not in server or (isinstance(kinds, dict) and kinds.get("http") is True)


def _words(error: object) -> str:
    if not isinstance(error, dict):
        return str(error)
    data = error.get("data")
    return f"{error.get('message')}" + (f": {data if isinstance(data, str) else json.dumps(data)}" if data else "")


def _print(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
