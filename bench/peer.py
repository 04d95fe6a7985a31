"""The peer: OpenHands agent-server, where it is installed. It has no queue and no sandbox, and makes no diff."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from bench.deployments import SAY_TIME
from bench.figures import Figure, Size, Skipped
from tests.deployment import wait_for
from tests.ports import free_port

FOLDER = Path(__file__).parents[1] / ".peer"
SKIPPED = Skipped(
    "OpenHands agent-server",
    "it is not installed",
    f"python3.12 -m venv {FOLDER.name} && {FOLDER.name}/bin/pip install openhands-agent-server==1.58.2",
)
ENDED = ("finished", "error", "stuck")
AT_ONCE = 8


def measure(size: Size) -> Iterator[Figure | Skipped]:
    """The peer in the place of this product: alone, and 8 at once."""
    program = FOLDER / "bin" / "agent-server"
    if not program.exists():
        yield SKIPPED
        return
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        model() as model_url,
        server(program, Path(folder)) as api,
    ):
        run(api, model_url, folder)
        alone = [run(api, model_url, folder) for _ in range(size.pick(1, 6, 40))]
        yield Figure("OpenHands agent-server: POST until the first command", "ms", [each[0] for each in alone])
        yield Figure("OpenHands agent-server: POST until it has finished", "ms", [each[1] for each in alone])
        together = []
        for _ in range(size.pick(1, 1, 10)):
            begun = time.monotonic()
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda _: run(api, model_url, folder), range(AT_ONCE)))
            together.append(time.monotonic() - begun)
        yield Figure(
            f"OpenHands agent-server: {AT_ONCE} at once, first POST until the last has finished", "s", together
        )


@contextlib.contextmanager
def server(program: Path, folder: Path) -> Iterator[httpx.Client]:
    port = free_port()
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [program, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as api:
        try:
            wait_for("the peer", lambda: api.get("/ready").is_success, seconds=300)
            yield api
        finally:
            process.kill()
            process.wait()


def run(api: httpx.Client, model_url: str, below: str) -> tuple[float, float]:
    """Milliseconds from the POST of a conversation until its first command, and until its end."""
    folder = Path(tempfile.mkdtemp(dir=below))
    text = f"{SAY_TIME} > {folder}/said"
    begun = time.time()
    answer = api.post(
        "/api/conversations",
        json={
            "agent": {
                "kind": "Agent",
                "llm": {"model": "openai/scripted", "base_url": model_url, "api_key": "none", "stream": False},
                "tools": [{"name": "terminal"}],
            },
            "workspace": {"kind": "LocalWorkspace", "working_dir": str(folder)},
            "initial_message": {"role": "user", "content": [{"type": "text", "text": text}], "run": True},
        },
    )
    assert answer.is_success, answer.text
    path = f"/api/conversations/{answer.json()['id']}"
    while (state := api.get(path).json()["execution_status"]) not in ENDED:
        time.sleep(0.01)
    ended = time.time()
    assert state == "finished", state
    said = float((folder / "said").read_text().removeprefix("said-at-"))
    api.delete(path)
    return (said - begun) * 1000, (ended - begun) * 1000


@contextlib.contextmanager
def model() -> Iterator[str]:
    """A model that runs the user's text as a command, and then ends; its URL."""
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_address[1]}"
    listener.shutdown()
    listener.server_close()


class Model(BaseHTTPRequestHandler):
    """OpenAI's chat completions."""

    def do_POST(self) -> None:
        messages = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["messages"]
        body = json.dumps(_completion(messages)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _completion(messages: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "Done."}
    if messages[-1]["role"] != "tool":
        given = next(each["content"] for each in messages if each["role"] == "user")
        text = given if isinstance(given, str) else next(part["text"] for part in given if SAY_TIME in part["text"])
        function = {"name": "terminal", "arguments": json.dumps({"command": text})}
        message = {"role": "assistant", "tool_calls": [{"id": "call", "type": "function", "function": function}]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [choice],
        "usage": usage,
    }
