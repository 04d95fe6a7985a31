"""A page to read the API's description, without anything from another host: `/docs`."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, Response, redirect
from flask.views import MethodView

from app.api.blueprint import Blueprint

PAGE = Path(__file__).parents[1] / "docs"
TYPES = {"page.js": "text/javascript", "page.css": "text/css"}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'"

blp = Blueprint("Documentation", __name__, description="This description.", url_prefix="/api/v1", is_open=True)


@blp.route("/docs")
class Docs(MethodView):
    @blp.operation("getDocs")
    @blp.response(200, {"type": "string"}, content_type="text/html")
    def get(self) -> Response:
        """Read this description as a page.

        Nothing on the page comes from another host.
        """
        return served("page.html", "text/html")


@blp.route("/docs/<any('page.js', 'page.css'):name>")
class DocsPart(MethodView):
    @blp.operation("getDocsPart")
    @blp.doc(responses={200: {"content": {kind: {"schema": {"type": "string"}} for kind in TYPES.values()}}})
    @blp.response(200)
    def get(self, name: str) -> Response:
        """Get the page's script or style.

        The page loads them by itself.
        """
        return served(name, TYPES[name])


def lead_to(app: Flask) -> None:
    """Lead from the addresses at which people look first to the page."""
    for number, path in enumerate(("/", "/docs", "/api", "/api/v1", "/api/v1/")):
        app.add_url_rule(path, f"to_docs_{number}", lambda: redirect("/api/v1/docs"))


def served(name: str, kind: str) -> Response:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return Response((PAGE / name).read_bytes(), 200, headers, content_type=f"{kind}; charset=utf-8")
