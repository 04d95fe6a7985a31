"""GitHub's own description of its API, and a proxy that checks requests and answers against it."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_DESCRIPTION = Path(__file__).with_name("github-openapi.json.gz")
# Every operation may be answered with these, whether its description says so or not:
# https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
_ALWAYS_POSSIBLE = {400, 401, 404, 429}


@dataclass(frozen=True)
class Exchange:
    """One request to the API and its answer."""

    method: str
    path: str
    query: dict[str, str]
    sent: Any
    status: int
    received: Any


class Contract:
    """Raises AssertionError for an exchange that GitHub's description does not allow."""

    def __init__(self) -> None:
        self._description = json.loads(gzip.decompress(_DESCRIPTION.read_bytes()))

    def check(self, exchange: Exchange) -> None:
        operation, shared = self._operation(exchange)
        parameters = [self._resolved(parameter) for parameter in [*shared, *operation.get("parameters", [])]]
        self._check_query(exchange, {p["name"]: p["schema"] for p in parameters if p["in"] == "query"})
        if exchange.sent is not None:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            known = {name for each in schema.get("oneOf", [schema]) for name in each.get("properties", {})}
            unknown = exchange.sent.keys() - known
            assert not unknown, f"GitHub takes no {unknown} in {exchange.method} {exchange.path}"
            # A refusal of bad values may be just what a test is about.
            if exchange.status < 400:
                self._validate(schema, exchange.sent, exchange)
        self._check_answer(exchange, operation["responses"])

    def _operation(self, exchange: Exchange) -> tuple[dict[str, Any], list[Any]]:
        for template, methods in self._description["paths"].items():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, exchange.path) and exchange.method.lower() in methods:
                return methods[exchange.method.lower()], methods.get("parameters", [])
        raise AssertionError(f"GitHub has no {exchange.method} {exchange.path}")

    def _check_query(self, exchange: Exchange, schemas: dict[str, Any]) -> None:
        for name, text in exchange.query.items():
            assert name in schemas, f"GitHub has no parameter {name} of {exchange.path}"
            value = int(text) if schemas[name].get("type") == "integer" and text.isdigit() else text
            if exchange.status < 400:
                self._validate(schemas[name], value, exchange)

    def _check_answer(self, exchange: Exchange, responses: dict[str, Any]) -> None:
        if str(exchange.status) not in responses:
            assert exchange.status in _ALWAYS_POSSIBLE, f"GitHub never answers {exchange.status} to {exchange.path}"
            response: dict[str, Any] = self._description["components"]["responses"]["not_found"]
        else:
            response = self._resolved(responses[str(exchange.status)])
        content = response.get("content")
        if content is None:
            assert exchange.received is None or exchange.status >= 400, f"{exchange.status} has no content"
        else:
            self._validate(content["application/json"]["schema"], exchange.received, exchange)
        if exchange.status >= 400:
            assert exchange.received["message"] and exchange.received["documentation_url"]

    def _validate(self, schema: dict[str, Any], value: Any, exchange: Exchange) -> None:
        # It brings Pydantic, for which processes that check no answer have no use.
        from openapi_schema_validator import OAS30Validator, oas30_format_checker

        whole = {**schema, "components": self._description["components"]}
        # References are relative to the root of the schema, and beside one nothing else would count.
        if "$ref" in schema:
            whole = {"allOf": [schema], "components": self._description["components"]}
        errors = list(OAS30Validator(whole, format_checker=oas30_format_checker).iter_errors(value))
        reported = [f"{'/'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in errors]
        assert not errors, f"{exchange.method} {exchange.path} {exchange.status}: {reported}"

    def _resolved(self, value: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in value:
            return value
        _, _, kind, name = value["$ref"].split("/")
        return self._description["components"][kind][name]


@dataclass
class Recorder:
    """A proxy in front of the forge at `url` that records every exchange."""

    behind: str
    exchanges: list[Exchange] = field(default_factory=list)

    @cached_property
    def server(self) -> ThreadingHTTPServer:
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def forward(self) -> None:
                recorder.forward(self)

            do_GET = do_POST = do_PATCH = do_PUT = forward

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        return ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def forward(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        place = urlsplit(self.behind)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=20)
        try:
            # Host goes along as well, so that the addresses in the answer lead here.
            connection.request(handler.command, handler.path, body or None, dict(handler.headers))
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        url = urlsplit(handler.path)
        path, query = url.path.removeprefix("/api/v3"), dict(parse_qsl(url.query))
        sent, received = (_json(text) for text in (body, data))
        self.exchanges.append(Exchange(handler.command, path, query, sent, answer.status, received))
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name not in ("Server", "Date"):
                handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)


def _json(text: bytes) -> Any:
    """The JSON value; None if there is none."""
    with contextlib.suppress(ValueError):
        return json.loads(text)
    return None


@contextlib.contextmanager
def recorded(url: str) -> Iterator[Recorder]:
    recorder = Recorder(url)
    thread = threading.Thread(target=recorder.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.server.shutdown()
        recorder.server.server_close()
        thread.join()
