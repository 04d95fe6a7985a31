"""What a preflight finds of the key of a model, at a server that lists models."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from workers.job import Host
from workers.preflight.model_key import check_model_key

KEY = "key-of-the-team"
_PLACES = {
    "/v1/models?limit=1": "x-api-key",
    "/openai/v1/models": "authorization",
    "/v1beta/models?pageSize=1": "x-goog-api-key",
}


class _Models(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        header = _PLACES.get(self.path)
        sent = self.headers.get(header or "", "").removeprefix("Bearer ")
        self.send_response(404 if header is None else 200 if sent == KEY else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Models) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("agent", "variables"),
    [
        ("claude", ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "")),
        ("codex", ("OPENAI_API_KEY", "OPENAI_BASE_URL", "/openai/v1")),
        ("copilot", ("COPILOT_PROVIDER_API_KEY", "COPILOT_PROVIDER_BASE_URL", "/openai/v1")),
        ("gemini", ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL", "/")),
    ],
)
def test_a_key_is_tried_without_a_call_of_a_model(url: str, tmp_path: Path, agent: str, variables) -> None:
    key, place, path = variables

    def found(**changed: str) -> str:
        check = check_model_key(agent, (), {key: KEY, place: url + path, **changed}, Host(tmp_path))
        assert KEY not in check.message
        return check.code or check.status

    assert found() == "ok"
    assert found(**{key: "another"}) == "model_key_refused"
    assert found(**{key: ""}) == "no_model_key"
    assert found(**{place: f"{url}/other"}) == "skipped"


def test_a_provider_that_does_not_answer_and_an_agent_without_a_key(tmp_path: Path) -> None:
    given = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://127.0.0.1:9"}
    assert check_model_key("codex", (), given, Host(tmp_path)).code == "model_unreachable"
    assert check_model_key("shell", (), given, Host(tmp_path)).status == "skipped"
