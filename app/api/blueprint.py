"""The blueprint that all of the API is made of: bodies read strictly, operations described in full."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar

import flask
import flask_smorest
import marshmallow
from webargs import core
from webargs.flaskparser import FlaskParser

from app.api import auth, requests
from app.errors import BadRequest, Invalid
from app.schemas.base import ErrorSchema
from app.schemas.glossary import PATHS

F = TypeVar("F", bound=Callable[..., Any])
REFUSALS = (400, 401, 403, 404, 413, 415, 422, 429, 500)

IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "description": "A repeat with the same key and body gets the first answer again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    "example": "5f0c2c1e-order-17",
}
REQUEST_ID = {
    "in": "header",
    "name": "X-Request-Id",
    "description": "Up to 128 of `A-Za-z0-9._:/+=-`, taken over into the logs and echoed; else one is made.",
    "schema": {"type": "string"},
    "example": "checkout-4711",
}
_IN_PATH = re.compile(r"<(?:[^<>]+:)?(\w+)>")
PAGE_HEADERS = {
    "Total": {"description": "Rows of the whole list; not told on a walk by cursor.", "schema": {"type": "integer"}},
    "Link": {"description": "`first`, `prev`, `next` and `last` (RFC 8288).", "schema": {"type": "string"}},
}


class Parser(FlaskParser):
    """Reads a request's body and query; what is wrong with them is told in the one error shape."""

    # The schema of a query says what becomes of parameters that it does not know, as that of a body does.
    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": None}

    def _raw_load_json(self, req: flask.Request) -> Any:
        return read_json(req.get_data(), core.missing)

    def handle_error(self, error: marshmallow.ValidationError, *_: Any, **__: Any) -> NoReturn:
        # Messages come by location and then by field; callers only care for the fields.
        located: Any = error.messages
        errors: dict[str, Any] = {}
        for messages in located.values():
            errors.update(messages if isinstance(messages, dict) else {"_schema": messages})
        raise refused(errors) from None


def refused(errors: dict[str, Any]) -> Invalid:
    """The refusal of fields, whose message is the first reason in words."""
    (field, reason), *others = _reasons(errors)
    more = f" (and {len(others)} more, see errors)" if others else ""
    return Invalid(f"{field}: {reason}{more}", errors=errors)


def _reasons(messages: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The path of each refused field, such as `limits.max_tokens` or `file_keys[0]`, with the reason."""
    if isinstance(messages, dict):
        for name, inner in messages.items():
            if name == "_schema":
                place = path
            elif isinstance(name, int):
                place = f"{path}[{name}]"
            else:
                place = f"{path}.{name}" if path else str(name) or '""'
            yield from _reasons(inner, place)
    else:
        yield from ((path or "the body", str(reason)) for reason in messages)


def read_json(body: bytes, empty: Any) -> Any:
    """The value of a JSON body, or `empty` where there is none; raises `BadRequest`."""
    if not body:
        return empty
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not well-formed JSON", error_code="malformed_json") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


class Blueprint(flask_smorest.Blueprint):
    """Routes of one kind of thing. All but open ones need a bearer token and take JSON only."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, name: str, import_name: str, *, is_open: bool = False, **kwargs: Any) -> None:
        super().__init__(name, import_name, **kwargs)
        self.is_open = is_open
        self._prepare_doc_cbks.append(self._describe_headers)
        if not is_open:
            self.before_request(_admit)

    def route(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Serve a path, whose variable parts are described."""
        names = _IN_PATH.findall(f"{self.url_prefix or ''}{rule}")
        described = [{"in": "path", "name": name, "description": PATHS[name]} for name in names]
        return super().route(rule, parameters=described, **options)

    def operation(
        self, operation_id: str, *, conflict: str = "", also: dict[int, str] | None = None, links: Any = None
    ) -> Callable[[F], F]:
        """Name an operation and declare how it refuses. Its summary is the first line of the view's docstring.

        `conflict` says when it answers 409, `also` gives other statuses, `links` the follow-ups of its success.
        """
        responses: dict[int, Any] = {status: HTTPStatus(status).name for status in REFUSALS}
        for status, description in {**({409: conflict} if conflict else {}), **(also or {})}.items():
            content = {"application/json": {"schema": ErrorSchema}}
            responses[status] = {"description": description, "content": content}
        for status, followed in (links or {}).items():
            responses[status] = {"links": followed}
        manual = {"operationId": operation_id, "responses": responses, **({"security": []} if self.is_open else {})}
        return self.doc(**manual)

    @staticmethod
    def _describe_headers(doc: dict[str, Any], _info: Any, *, method: str, **_: Any) -> dict[str, Any]:
        doc.setdefault("parameters", []).extend([REQUEST_ID, *([IDEMPOTENCY_KEY] if method == "post" else [])])
        return doc


def _admit() -> None:
    """Check who asks and what comes with the request."""
    # A browser asks with OPTIONS, and without a token, whether a page may make the request that it is about to make.
    if flask.request.method != "OPTIONS":
        auth.identify()
        requests.check_body()
        _refuse_untaken()


def _refuse_untaken() -> None:
    """Refuse parameters and fields of a request whose operation takes none, as others refuse those they do not know."""
    taken = _locations(flask.current_app.view_functions[str(flask.request.endpoint)])
    if "query" not in taken and flask.request.args:
        hint = "; send it in the JSON body" if "json" in taken else ""
        raise refused({name: [f"is not a parameter of this operation{hint}"] for name in flask.request.args})
    if "json" not in taken and flask.request.method in ("POST", "PATCH"):
        body = read_json(flask.request.get_data(), {})
        if not isinstance(body, dict):
            raise refused({"_schema": ["must be an object"]})
        if body:
            raise refused({name: ["is not a field of this operation, which takes none"] for name in body})


def _locations(view: Any) -> set[str]:
    """Where the operation of the request in progress takes arguments from: `query`, `json`, `headers`."""
    method = "get" if flask.request.method == "HEAD" else flask.request.method.lower()
    described = getattr(getattr(view.view_class, method, None), "_apidoc", {})
    return {argument["in"] for argument in described.get("arguments", {}).get("parameters", [])}


def empty(status: int) -> flask.Response:
    """An answer without a body."""
    response = flask.Response(status=status)
    del response.headers["Content-Type"]
    return response
