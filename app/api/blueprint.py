"""The base blueprint of the API: it reads requests strictly and documents every operation."""

from __future__ import annotations

import itertools
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
from app.services.pagination import COUNTED
from app.serving.shares import take_share

F = TypeVar("F", bound=Callable[..., Any])
# What a 422 shows of what is wrong. A body of some megabytes can have a million unknown fields.
MOST_REASONS = 100
LONGEST_REASON = 500
ERROR_STATUSES = (400, 401, 403, 404, 413, 415, 422, 429, 500)

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
    "description": "Up to 128 of `A-Za-z0-9._:/+=-`. Logged, and returned in the answer. Generated if missing or malformed.",
    "schema": {"type": "string"},
    "example": "checkout-4711",
}
_IN_PATH = re.compile(r"<(?:[^<>]+:)?(\w+)>")
LINK = {"description": "`first`, `prev`, `next` and `last` (RFC 8288).", "schema": {"type": "string"}}
LIST_HEADERS = {
    "Total": {
        "description": f"The number of rows in the whole list, up to {COUNTED}. Not sent when paging by cursor.",
        "schema": {"type": "integer"},
    },
    "Total-Capped": {
        "description": f"`true` if the list has more than {COUNTED} rows. `Link` then has no `last`.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Link": LINK,
}
DIFF_HEADERS = {
    "Total": {"description": "The number of files in the whole diff.", "schema": {"type": "integer"}},
    "Link": LINK,
}
WHOLE_DIFF_HEADERS = {
    **DIFF_HEADERS,
    "Repr-Digest": {
        "description": "The SHA-256 of the diff, where all of it is requested (RFC 9530).",
        "schema": {"type": "string"},
    },
}


class Parser(FlaskParser):
    """Reads a request's body and query. Errors are answered in the API's one error shape."""

    # None leaves the decision about unknown parameters to the schema of the query, as for a body.
    DEFAULT_UNKNOWN_BY_LOCATION = {**FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION, "query": None}

    def _raw_load_json(self, req: flask.Request) -> Any:
        return read_json(req.get_data(), core.missing)

    def handle_error(self, error: marshmallow.ValidationError, *_: Any, **__: Any) -> NoReturn:
        # Messages are grouped by location and then by field. Callers only need the fields.
        located: Any = error.messages
        errors: dict[str, Any] = {}
        for messages in located.values():
            errors.update(messages if isinstance(messages, dict) else {"_schema": messages})
        raise refused(errors) from None


def refused(errors: dict[str, Any]) -> Invalid:
    """The error for refused fields. Its message is the first of the reasons, and a long list of them is cut."""
    (field, reason), *others = _reasons(errors)
    more = f" (and {len(others)} more, see errors)" if others else ""
    shown = _first(errors, itertools.count())
    return Invalid(f"{_short(field)}: {_short(reason)}{more}", errors=shown)


def _first(messages: Any, counted: Iterator[int]) -> Any:
    """The first reasons of many. What a caller sent, such as the names of unknown fields, may be long."""
    if not isinstance(messages, dict):
        return [_short(reason) for reason in messages]
    shown = {}
    for name, inner in messages.items():
        if next(counted) >= MOST_REASONS:
            break
        shown[_short(name) if isinstance(name, str) else name] = _first(inner, counted)
    return shown


def _short(text: object) -> str:
    whole = str(text)
    return whole if len(whole) <= LONGEST_REASON else f"{whole[:LONGEST_REASON]}..."


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
        message = "The body is not well-formed JSON. Check its syntax; NaN and Infinity are not JSON."
        raise BadRequest(message, error_code="malformed_json") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class Blueprint(flask_smorest.Blueprint):
    """Routes of one resource. All but open blueprints need a bearer token and accept JSON only."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, name: str, import_name: str, *, is_open: bool = False, **kwargs: Any) -> None:
        super().__init__(name, import_name, **kwargs)
        self.is_open = is_open
        self._prepare_doc_cbks.append(self._describe_headers)
        if not is_open:
            self.before_request(_admit)

    def route(self, rule: str, **options: Any) -> Callable[[F], F]:
        """Register a path and document its variable parts."""
        names = _IN_PATH.findall(f"{self.url_prefix or ''}{rule}")
        described = [{"in": "path", "name": name, "description": PATHS[name]} for name in names]
        return super().route(rule, parameters=described, **options)

    def arguments(self, schema: Any, **options: Any) -> Callable[[F], F]:
        """Read arguments by a schema, of which one instance serves all requests: making it takes longer than reading them."""
        return super().arguments(schema() if isinstance(schema, type) else schema, **options)

    def operation(
        self, operation_id: str, *, conflict: str = "", also: dict[int, str] | None = None, links: Any = None
    ) -> Callable[[F], F]:
        """Name an operation and document its errors. Its summary is the first line of the view's docstring.

        `conflict` says when it answers 409, `also` describes other statuses, `links` holds the links of its success.
        """
        responses: dict[int, Any] = {status: HTTPStatus(status).name for status in ERROR_STATUSES}
        for status, description in {**({409: conflict} if conflict else {}), **(also or {})}.items():
            content = {"content": {"application/json": {"schema": ErrorSchema}}} if status >= 400 else {}
            responses[status] = {"description": description, **content}
        for status, followed in (links or {}).items():
            responses[status] = {"links": followed}
        manual = {"operationId": operation_id, "responses": responses, **({"security": []} if self.is_open else {})}
        return self.doc(**manual)

    @staticmethod
    def _describe_headers(doc: dict[str, Any], _info: Any, *, method: str, **_: Any) -> dict[str, Any]:
        doc.setdefault("parameters", []).extend([REQUEST_ID, *([IDEMPOTENCY_KEY] if method == "post" else [])])
        return doc


def _admit() -> None:
    """Authenticate the caller, and check the body and the parameters."""
    # Before some requests a browser asks with OPTIONS, and without a token, whether the page may make them.
    if flask.request.method != "OPTIONS":
        auth.identify()
        take_share(flask.request.environ, auth.caller().account_id)
        requests.check_body()
        _refuse_unexpected()


def _refuse_unexpected() -> None:
    """Refuse parameters that are given twice, and parameters and fields where the operation takes none. Elsewhere schemas
    refuse the unknown ones."""
    twice = [name for name, given in flask.request.args.lists() if len(given) > 1]
    if twice:
        raise refused({name: ["is given more than once; separate several values by commas"] for name in twice})
    accepted = _locations(flask.current_app.view_functions[str(flask.request.endpoint)])
    if "query" not in accepted and flask.request.args:
        hint = "; send it in the JSON body" if "json" in accepted else ""
        raise refused({name: [f"is not a parameter of this operation{hint}"] for name in flask.request.args})
    if "json" not in accepted and flask.request.method in ("POST", "PATCH"):
        body = read_json(flask.request.get_data(), {})
        if not isinstance(body, dict):
            raise refused({"_schema": ["must be an object"]})
        if body:
            raise refused({name: ["is not a field of this operation, which takes none"] for name in body})


def _locations(view: Any) -> set[str]:
    """Where the current operation takes arguments from: `query`, `json`, `headers`."""
    method = "get" if flask.request.method == "HEAD" else flask.request.method.lower()
    described = getattr(getattr(view.view_class, method, None), "_apidoc", {})
    return {argument["in"] for argument in described.get("arguments", {}).get("parameters", [])}


def empty(status: int) -> flask.Response:
    """A response without a body."""
    response = flask.Response(status=status)
    del response.headers["Content-Type"]
    return response
