"""The pages for people: what is there, what one pull request says and changes, and a button to merge it."""

from __future__ import annotations

import hmac
import re
import secrets
from urllib.parse import parse_qs

from app.demo.forge.access import Access, readable
from app.demo.forge.layout import badge, diff, escape, page
from app.demo.forge.messages import Answer, Refused, Request
from app.demo.forge.pulls import Pulls
from app.demo.forge.repositories import Repositories, Repository
from app.demo.forge.store import Pull

_ROUTE = re.compile(
    r"/(?P<owner>[^/]+)/(?P<name>[^/]+?)(\.git)?(/pulls?(/(?P<number>[1-9]\d{0,8})(/(?P<verb>\w+))?)?)?/?"
)
_LOOPBACK = re.compile(r"(127(\.\d{1,3}){3}|localhost|\[::1\])(:\d+)?", re.ASCII)
_DIFF_BYTES = 512 * 1024
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Pages:
    """Answers browsers. A form carries a secret of this process that no other site can read."""

    def __init__(self, repositories: Repositories, pulls: Pulls, access: Access) -> None:
        self._repositories = repositories
        self._pulls = pulls
        self._access = access
        self._secret = secrets.token_urlsafe()

    def answer(self, request: Request) -> Answer:
        try:
            # A name that somebody made to point here would let a page of theirs read the secret.
            if not _LOOPBACK.fullmatch(request.headers.get("Host", "")):
                raise Refused(403, "This forge answers on loopback only.")
            return self._answer(request)
        except Refused as refusal:
            body = f"<p>{escape('; '.join([refusal.message, *(e.get('message', '') for e in refusal.errors)]))}</p>"
            asked = {"WWW-Authenticate": 'Basic realm="Demo forge"'} if refusal.status == 401 else {}
            return _html(page("Sorry", body), refusal.status, asked)

    def _answer(self, request: Request) -> Answer:
        if request.path == "/" and request.method == "GET":
            return _html(self._front())
        route = _ROUTE.fullmatch(request.path)
        if route is None:
            raise Refused(404, "There is no such page.")
        caller = self._access.caller(request.headers)
        repository = self._repositories.find(route["owner"], route["name"])
        if repository is not None and repository.is_private and caller is None:
            raise Refused(401, "This repository is private: give a token as the password.")
        repository = readable(self._repositories, caller, route["owner"], route["name"])
        number, verb = int(route["number"] or 0), route["verb"]
        if request.method == "POST" and number and verb in ("merge", "close", "ready"):
            return self._act(request, repository, number, verb)
        if request.method != "GET" or verb:
            raise Refused(404, "There is no such page.")
        return _html(self._pull(repository, number) if number else self._list(repository))

    def _act(self, request: Request, repository: Repository, number: int, verb: str) -> Answer:
        """What a button asks for; then back to the page."""
        given = parse_qs(request.body.decode(errors="replace")).get("secret", [""])[0]
        if not hmac.compare_digest(given.encode(), self._secret.encode()):
            raise Refused(403, "The page was too old. Go back, load it again, and press the button there.")
        if verb == "merge":
            self._pulls.merge(repository, number, {})
        elif verb == "ready":
            self._pulls.make_ready(repository, number)
        else:
            self._pulls.update(repository, number, {"state": "closed"})
        return Answer(303, headers={"Location": f"/{repository.full_name}/pull/{number}", "Connection": "close"})

    def _front(self) -> str:
        rows = [
            f'<li><a href="/{escape(of.full_name)}">{escape(of.full_name)}</a></li>'
            for of in self._repositories.all()
            if not of.is_private
        ]
        return page("Repositories", f'<ul class="list">{"".join(rows)}</ul>')

    def _list(self, repository: Repository) -> str:
        rows = [
            f'<li>{badge(pull)} <a href="/{escape(repository.full_name)}/pull/{pull.number}">{escape(pull.title)}</a>'
            f' <span class="quiet">#{pull.number}</span></li>'
            for pull in self._pulls.all(repository)
        ]
        body = f'<ul class="list">{"".join(rows)}</ul>' if rows else '<p class="quiet">No pull requests yet.</p>'
        return page(f"Pull requests of {repository.full_name}", body)

    def _pull(self, repository: Repository, number: int) -> str:
        pull = self._pulls.get(repository, number)
        added, deleted, files = repository.changes(pull.base_sha, pull.head_sha)
        body = f"""
<p class="quiet"><a href="/{escape(repository.full_name)}">{escape(repository.full_name)}</a> #{pull.number}</p>
<p>{badge(pull)} {escape(pull.author)} wants to merge <code>{escape(pull.head)}</code> into
<code>{escape(pull.base)}</code> <span class="quiet">at {pull.head_sha[:10]}</span></p>
<div class="text">{escape(pull.body or "") or '<span class="quiet">No description.</span>'}</div>
{self._buttons(repository, pull)}
<p class="quiet">{files} changed file{"" if files == 1 else "s"}, <b class="plus">+{added}</b>
<b class="minus">-{deleted}</b></p>
{diff(repository.diff(pull.base_sha, pull.head_sha, _DIFF_BYTES), _DIFF_BYTES)}"""
        return page(pull.title, body)

    def _buttons(self, repository: Repository, pull: Pull) -> str:
        if not pull.is_open:
            return ""
        verbs = [("ready", "Ready for review"), ("close", "Close")]
        if not pull.draft:
            mergeable = repository.merged_tree(pull.base_sha, pull.head_sha) is not None
            note = "" if mergeable else '<p class="quiet">There are conflicts with the base.</p>'
            verbs = [*([("merge", "Merge")] if mergeable else []), ("close", "Close")]
        else:
            note = ""
        url = f"/{escape(repository.full_name)}/pull/{pull.number}"
        forms = [
            f'<form method="post" action="{url}/{verb}"><input type="hidden" name="secret" value="{self._secret}">'
            f'<button class="{verb}">{label}</button></form>'
            for verb, label in verbs
        ]
        return f'{note}<div class="buttons">{"".join(forms)}</div>'


def _html(text: str, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, text.encode(errors="replace"), "text/html; charset=utf-8", {**_HEADERS, **(headers or {})})
