"""The blueprint of the console: who may see a page, what surrounds each answer, and errors as pages."""

from __future__ import annotations

import secrets
from typing import Any

import structlog
from flask import Blueprint, Response, g, make_response, redirect, render_template, request, url_for

from app import db
from app.console import access, assets, presentation
from app.errors import AppError
from app.serving.shares import take_share

log = structlog.get_logger()
OPEN = frozenset({"console.asset", "console.sign_in", "console.begin", "console.set_theme"})
"""What somebody sees who is not signed in."""
bp = Blueprint("console", __name__, template_folder="templates")
bp.add_app_template_global(assets.url, "asset_url")
presentation.register(bp)


@bp.before_request
def _admit() -> Any:
    g.nonce = secrets.token_urlsafe(16)
    g.caller = None
    if request.endpoint == "console.asset":
        return None
    # Prompts may be longer than what the framework takes in a form.
    request.max_form_memory_size = request.max_content_length
    with db.transaction(read_only=True):
        g.caller = access.find_caller()
    access.check_form()
    if g.caller is not None:
        take_share(request.environ, g.caller.account_id)
        structlog.contextvars.bind_contextvars(user_id=str(g.caller.user_id), token_id=str(g.caller.token_id))
    elif request.endpoint not in OPEN:
        return _ask_to_sign_in()
    return None


def _ask_to_sign_in() -> Any:
    wanted = request.full_path.rstrip("?") if request.method == "GET" and "HX-Request" not in request.headers else None
    target = url_for("console.sign_in", next=wanted if wanted != "/" else None)
    if "HX-Request" in request.headers or request.path.endswith("/events"):
        return Response(status=401, headers={"HX-Redirect": target})
    return redirect(target, 303)


@bp.after_request
def _surround(response: Response) -> Response:
    if request.endpoint == "console.asset":
        return response
    # Trusted Types: no text becomes HTML but by htmx, which takes attributes with this nonce alone (hx-csp).
    policy = (
        f"default-src 'none'; script-src 'nonce-{g.nonce}'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types htmx"
    )
    response.headers["Content-Security-Policy"] = policy
    # Not no-referrer, with which browsers send forms without their origin.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers.add("Vary", "Cookie")
    if "new_cookie" in g:
        access.give_cookie(response, g.new_cookie)
    return response


@bp.get("/assets/<asked>/<path:name>")
def asset(asked: str, name: str) -> Response:
    return assets.send(asked, name)


def page(template: str, status: int = 200, **values: Any) -> Response:
    """A page or a part of one."""
    return make_response(render_template(template, **values), status)


def error_page(error: AppError) -> Response:
    """An error as a page, or as a message in the page that htmx is to change."""
    is_part = "HX-Request" in request.headers
    response = page("notice.html" if is_part else "error.html", error.status, error=error)
    if is_part:
        response.headers.update({"HX-Retarget": "#notice", "HX-Reswap": "innerHTML"})
    response.headers.update({name: value for name, value in error.headers.items() if name == "Retry-After"})
    return response
