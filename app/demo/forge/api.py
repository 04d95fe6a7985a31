"""The part of GitHub's REST API that opening, looking up and merging pull requests takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlencode

from app.demo.forge import shapes
from app.demo.forge.access import LOGIN, Access, Caller, readable, require_writer
from app.demo.forge.messages import Answer, Refused, Request, as_json, invalid, not_found
from app.demo.forge.pulls import Pulls
from app.demo.forge.repositories import Repositories, Repository
from app.demo.forge.store import Pull

PREFIX = "/api/v3"
_ROUTE = re.compile(
    r"/repos/(?P<owner>[^/]+)/(?P<name>[^/]+)(?P<rest>/pulls(/(?P<number>[1-9]\d{0,8})(?P<merge>/merge)?)?)?"
)


class Api:
    """Answers requests below `/api/v3`, the place where an Enterprise server has its API."""

    def __init__(self, repositories: Repositories, pulls: Pulls, access: Access) -> None:
        self._repositories = repositories
        self._pulls = pulls
        self._access = access

    def answer(self, request: Request) -> Answer:
        try:
            return self._answer(request, self._access.caller(request.headers))
        except Refused as refusal:
            return refusal.answer()

    def _answer(self, request: Request, caller: Caller | None) -> Answer:
        path = request.path.removeprefix(PREFIX)
        if (request.method, path) == ("GET", "/user"):
            if caller is None:
                raise Refused(401, "Requires authentication")
            return as_json(shapes.public_user(request.origin, caller.login))
        route = _ROUTE.fullmatch(path)
        if route is None:
            raise not_found()
        repository = readable(self._repositories, caller, route["owner"], route["name"])
        place = "merge" if route["merge"] else "pull" if route["number"] else "pulls" if route["rest"] else "repository"
        verb = self._verbs().get((request.method, place))
        if verb is None:
            raise not_found()
        if request.method != "GET":
            require_writer(caller)
        return verb(request, repository, int(route["number"] or 0))

    def _verbs(self) -> dict[tuple[str, str], Callable[[Request, Repository, int], Answer]]:
        return {
            ("GET", "repository"): self._repository,
            ("GET", "pulls"): self._list,
            ("POST", "pulls"): self._create,
            ("GET", "pull"): self._get,
            ("PATCH", "pull"): self._update,
            ("GET", "merge"): self._is_merged,
            ("PUT", "merge"): self._merge,
        }

    def _repository(self, request: Request, repository: Repository, _: int) -> Answer:
        return as_json(shapes.repository(request.origin, repository))

    def _list(self, request: Request, repository: Repository, _: int) -> Answer:
        """https://docs.github.com/en/rest/pulls/pulls#list-pull-requests"""
        pulls = _selected(self._pulls.all(repository), request, repository)
        size = min(_number(request, "per_page", 30), 100)
        page, last = _number(request, "page", 1), max(1, -(-len(pulls) // size))
        near = {"prev": page - 1, "next": page + 1, "last": last, "first": 1}
        told = [name for name in near if (page > 1 if name in ("prev", "first") else page < last)]
        url = f"{request.origin}{request.path}"
        links = [f'<{url}?{urlencode({**request.query, "page": near[name]})}>; rel="{name}"' for name in told]
        shown = pulls[(page - 1) * size : page * size]
        body = [shapes.pull_in_list(request.origin, repository, pull) for pull in shown]
        return as_json(body, headers={"Link": ", ".join(links)} if links else {})

    def _create(self, request: Request, repository: Repository, _: int) -> Answer:
        pull = self._pulls.create(repository, request.json(), LOGIN)
        body = shapes.pull_request(request.origin, repository, pull)
        return as_json(body, 201, headers={"Location": body["url"]})

    def _get(self, request: Request, repository: Repository, number: int) -> Answer:
        return as_json(shapes.pull_request(request.origin, repository, self._pulls.get(repository, number)))

    def _update(self, request: Request, repository: Repository, number: int) -> Answer:
        pull = self._pulls.update(repository, number, request.json())
        return as_json(shapes.pull_request(request.origin, repository, pull))

    def _is_merged(self, request: Request, repository: Repository, number: int) -> Answer:
        if not self._pulls.get(repository, number).merged_at:
            raise not_found()
        return Answer(204)

    def _merge(self, request: Request, repository: Repository, number: int) -> Answer:
        pull = self._pulls.merge(repository, number, request.json())
        return as_json({"sha": pull.merge_commit_sha, "merged": True, "message": "Pull Request successfully merged"})


def _selected(pulls: list[Pull], request: Request, repository: Repository) -> list[Pull]:
    """Those that the filters of the request let through, in the order it asks for."""
    query = request.query
    state, sort = query.get("state", "open"), query.get("sort", "created")
    direction = query.get("direction", "desc" if sort == "created" else "asc")
    if state not in ("open", "closed", "all"):
        raise invalid("state")
    owner, _, head = query.get("head", "").partition(":")
    chosen = [
        pull
        for pull in pulls
        if state in ("all", pull.state)
        and query.get("base", pull.base) == pull.base
        # GitHub ignores a head that names no owner.
        and (not head or (owner, head) == (repository.owner, pull.head))
    ]
    key = (lambda pull: (pull.updated_at, pull.number)) if sort == "updated" else (lambda pull: pull.number)
    return sorted(chosen, key=key, reverse=direction == "desc")


def _number(request: Request, name: str, default: int) -> int:
    value = request.query.get(name, "")
    return max(1, int(value)) if value.isascii() and value.isdigit() else default
