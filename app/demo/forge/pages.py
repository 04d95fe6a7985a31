"""Web pages: the repositories and pull requests, and one pull request with its diff and buttons."""

from __future__ import annotations

import hmac
import secrets
from typing import Any

from flask import Blueprint, g, redirect, render_template, request
from werkzeug import Response

from app.demo.forge import pulls
from app.demo.forge.forge import Refused, forge, readable_repository
from app.demo.forge.repositories import find_all

pages = Blueprint("pages", __name__)
_DIFF_BYTES = 512 * 1024
_KINDS = {"+": "added", "-": "removed", "@": "hunk"}
# Forms contain this secret, which other sites cannot read, so they cannot submit the forms.
_SECRET = secrets.token_urlsafe()


@pages.url_value_preprocessor
def _find_repository(_: str | None, values: dict[str, Any] | None) -> None:
    if values:
        g.repository = readable_repository(values.pop("owner"), values.pop("name").removesuffix(".git"))


@pages.get("/")
def show_repositories() -> str:
    shown = [repository for repository in find_all(forge().root) if not repository.is_private]
    return render_template("repositories.html", repositories=shown)


@pages.get("/<owner>/<name>")
@pages.get("/<owner>/<name>/pulls")
def show_pulls() -> str:
    return render_template("pulls.html", pulls=pulls.get_all(g.repository))


@pages.get("/<owner>/<name>/pull/<int:number>")
def show_pull(number: int) -> str:
    pull = pulls.get(g.repository, number)
    sides = pull.base_sha, pull.head_sha
    diff = g.repository.diff(*sides, _DIFF_BYTES)
    return render_template(
        "pull.html",
        pull=pull,
        secret=_SECRET,
        has_conflicts=g.repository.merged_tree(*sides) is None,
        counts=g.repository.changes(*sides),
        files=_files(diff),
        is_cut=len(diff.encode()) >= _DIFF_BYTES,
    )


@pages.post("/<owner>/<name>/pull/<int:number>/<any(merge, ready, close):verb>")
def press(number: int, verb: str) -> Response:
    """Do what the button says, then return to the page."""
    if not hmac.compare_digest(request.form.get("secret", "").encode(), _SECRET.encode()):
        raise Refused(403, "The page has expired. Go back, reload it, and press the button again.")
    if verb == "merge":
        pulls.merge(g.repository, number, {})
    elif verb == "ready":
        pulls.make_draft(g.repository, pulls.get(g.repository, number), draft=False)
    else:
        pulls.update(g.repository, number, {"state": "closed"})
    return redirect(f"/{g.repository.full_name}/pull/{number}", 303)


def _files(diff: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """The name of each file, and the lines of its diff with the kind of each."""
    files = []
    for part in f"\n{diff}".split("\ndiff --git ")[1:]:
        first, *lines = part.removesuffix("\n").split("\n")
        head = next((number for number, line in enumerate(lines) if line.startswith("@@")), len(lines))
        kinds = ["quiet"] * head + [_KINDS.get(line[:1], "") for line in lines[head:]]
        files.append((first.rpartition(" b/")[2], list(zip(kinds, lines, strict=True))))
    return files
