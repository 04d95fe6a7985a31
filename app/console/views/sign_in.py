"""Signing in with a token or a link, signing out, and the choice of colours."""

from __future__ import annotations

from flask import Response, redirect, request, url_for

from app import db
from app.console import access, forms
from app.console.blueprint import bp, page
from app.errors import AppError, Unauthorized
from app.services.accounts import console_sessions

THEMES = ("light", "dark", "system")
_YEAR = 365 * 24 * 3600


@bp.get("/sign-in")
def sign_in() -> Response:
    code = request.args.get("code", "")
    if access.has_caller() and not code:
        return redirect(url_for("console.home"), 303)  # type: ignore[return-value]
    return _form(code)


@bp.post("/sign-in")
def begin() -> Response:
    code, token = forms.text("code").strip(), forms.text("token").strip()
    try:
        if not (code or token):
            raise Unauthorized("Paste a token first.")
        with db.transaction():
            text = access.sign_in(code or token, by_link=bool(code))
    except AppError as error:
        return _form("", error)
    response = redirect(_local(forms.text("next")), 303)
    return access.give_cookie(response, text, console_sessions.SESSION_SECONDS)  # type: ignore[arg-type]


def _form(code: str, error: AppError | None = None) -> Response:
    wanted = request.values.get("next", "")
    return page("sign_in.html", error.status if error else 200, code=code, wanted=wanted, error=error)


def _local(path: str) -> str:
    """A path of this console. Anything else, such as the address of another host, becomes the first page."""
    is_path = path.startswith("/") and not path.startswith("//") and path.isprintable() and "\\" not in path
    return path if is_path else url_for("console.home")


@bp.post("/sign-out")
def sign_out() -> Response:
    with db.transaction():
        console_sessions.end(access.caller(), everywhere=forms.flag("everywhere"))
    return access.take_cookie(redirect(url_for("console.sign_in"), 303))  # type: ignore[arg-type]


@bp.post("/theme")
def set_theme() -> Response:
    response = redirect(_local(forms.text("next")), 303)
    theme = forms.text("theme")
    if theme in THEMES:
        response.set_cookie("theme", theme, max_age=_YEAR, samesite="Lax")
    return response  # type: ignore[return-value]
