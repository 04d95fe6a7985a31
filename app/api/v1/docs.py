"""The documentation page: `/docs`. It loads nothing from another host."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, Response, redirect
from flask.views import MethodView

from app.api.blueprint import Blueprint

PAGE = Path(__file__).parents[1] / "docs"
TYPES = {"page.js": "text/javascript", "page.css": "text/css"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'none'"
)

blp = Blueprint("Documentation", __name__, description="This description.", url_prefix="/api/v1", is_open=True)


@blp.route("/docs")
class Docs(MethodView):
    @blp.operation("getDocs")
    @blp.response(200, {"type": "string"}, content_type="text/html")
    def get(self) -> Response:
        """Read this description as a page.

        Nothing on the page comes from another host.
        """
        return _page_part("page.html", "text/html")


@blp.route("/docs/<any('page.js', 'page.css'):name>")
class DocsPart(MethodView):
    @blp.operation("getDocsPart")
    @blp.doc(responses={200: {"content": {kind: {"schema": {"type": "string"}} for kind in TYPES.values()}}})
    @blp.response(200)
    def get(self, name: str) -> Response:
        """Get the page's script or style.

        The documentation page loads them.
        """
        return _page_part(name, TYPES[name])


def redirect_to_docs(app: Flask) -> None:
    """Redirect the paths that people try first to the documentation page."""
    for number, path in enumerate(("/docs", "/api", "/api/v1", "/api/v1/")):
        app.add_url_rule(path, f"to_docs_{number}", lambda: redirect("/api/v1/docs"))


def _page_part(name: str, kind: str) -> Response:
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return Response((PAGE / name).read_bytes(), 200, headers, content_type=f"{kind}; charset=utf-8")
