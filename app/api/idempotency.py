"""`Idempotency-Key`: the outermost decorator of every POST view. It opens the view's transaction."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from typing import Any

from flask import Response, make_response, request

from app import db
from app.api import errors
from app.api.auth import caller
from app.errors import AppError, invalid
from app.services import idempotency
from app.services.idempotency import Answer, InFlight, Repeatable, Reused
from app.services.runners.agent_runner_sessions import LIST_CHARACTERS

HEADER, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_LONG_BODY = 65_536
_KEPT_HEADERS = ("Content-Type", "Location", "Retry-After")
View = Callable[..., Any]


def idempotent(*, secret: str | None = None) -> Callable[[View], View]:
    """Answer a repeated POST with the first answer. `secret` names the field that is shown only once."""

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Response:
            asked = _asked()
            try:
                with db.transaction():
                    kept = idempotency.begin(asked) if asked else None
                    if kept is not None:
                        return _replay(kept)
                    response = make_response(view(*args, **kwargs))
                    if asked:
                        idempotency.keep(asked, _answer(response, secret))
                    return response
            except AppError as error:
                if asked and _is_final(error):
                    with db.transaction():
                        idempotency.keep_refusal(asked, _answer(errors.answer(error), None))
                raise

        return wrapper

    return decorate


def _asked() -> Repeatable | None:
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise invalid(HEADER, "must have 1 to 255 visible ASCII characters")
    return idempotency.repeatable(caller(), key, request.method, request.path, request.get_data())


def _is_final(error: AppError) -> bool:
    """Whether a repeat gets the same error. After an error that says to try again later, it does not."""
    if error.status == 403 or not caller().may_write:
        # What a token may not do leaves nothing behind.
        return False
    return 400 <= error.status < 500 and error.status != 429 and not isinstance(error, InFlight | Reused)


def _answer(response: Response, secret: str | None) -> Answer:
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    body = response.get_data(as_text=True)
    if secret is not None:
        body = json.dumps({**json.loads(body), secret: None})
    if len(body) > _LONG_BODY:
        body = _with_short_texts(body)
    return Answer(response.status_code, headers, body)


def _with_short_texts(body: str) -> str:
    """An answer whose long texts are cut as in lists: the key keeps no second copy of a prompt."""
    fields = json.loads(body)
    cut = {name: fields[name][:LIST_CHARACTERS] for name in ("prompt", "result") if isinstance(fields.get(name), str)}
    changed = {f"{name}_truncated": True for name in cut if cut[name] != fields[name]}
    return json.dumps({**fields, **cut, **changed})


def _replay(kept: Answer) -> Response:
    return Response(kept.body, kept.status, {**kept.headers, REPLAYED: "true"})
