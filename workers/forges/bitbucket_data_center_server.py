"""One repository of Bitbucket Data Center, and the REST API of its server: https://developer.atlassian.com/server/bitbucket/rest/"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from workers.forges.http import Limits
from workers.forges.places import location, no_repository
from workers.forges.rest import Refusal, Rest, basic
from workers.job import Host

NAME = "Bitbucket Data Center"
PERMISSION = (
    "The token needs the permission `Repository write`, and its owner must be able to write to this repository. Set the "
    "site's access_token to an HTTP access token that has it and is not expired."
)
_REPOSITORY = re.compile(r"(?:(?P<context>/.*)?/scm)?/(?P<project>[^/]+)/(?P<slug>[^/]+)")
_API = re.compile(r"/rest(/api(/[\w.]+)?)?$")
_PER_PAGE, _MOST_PAGES = 25, 20


class Server:
    """The constructor raises EngineError, see `Rest`, and `forge_refused` if `repo_url` names no repository."""

    def __init__(self, repo_url: str, api_url: str | None, token: str, host: Host, limits: Limits) -> None:
        root, self.project, self.slug = places(repo_url, api_url)
        # A user name in the token is that of a person. Tokens of projects and repositories have none.
        authorization = basic(token) if ":" in token else None
        self.rest = Rest(NAME, f"{root}/rest", token, host, limits, permission=PERMISSION, authorization=authorization)
        self._is_found = False

    @property
    def full_name(self) -> str:
        """For people."""
        return f"{self.project}/{self.slug}"

    def repository(self) -> str:
        """The API's path of the repository by its present name: one that moved is found by its old name for reading."""
        if not self._is_found:
            found = self.rest.get(self._path(), f"the repository {self.full_name}")
            self.project, self.slug = str(found["project"]["key"]), str(found["slug"])
            self._is_found = True
        return self._path()

    def pages(self, path: str, what: str, **query: str) -> Iterator[Any]:
        """The items of a list, from as many pages as are read at most."""
        start = 0
        for _ in range(_MOST_PAGES):
            page = self.rest.get(path, what, **query, start=start, limit=_PER_PAGE)
            yield from page["values"]
            if page["isLastPage"]:
                return
            start = int(page["nextPageStart"])

    def _path(self) -> str:
        return f"/api/latest/projects/{quote(self.project, safe='~')}/repos/{quote(self.slug, safe='')}"


def places(repo_url: str, api_url: str | None) -> tuple[str, str, str]:
    """The URL below which the server is, the key of the project and the name of the repository.

    Clone URLs are `https://host/context/scm/PROJECT/repository.git`, and those for ssh have neither `context` nor `scm`.
    """
    server, path = location(repo_url)
    found = _REPOSITORY.fullmatch(f"/{path}")
    if not found:
        raise no_repository("https://host/scm/PROJECT/repository.git")
    root = _API.sub("", api_url.rstrip("/")) if api_url else server + (found["context"] or "")
    return root, found["project"], found["slug"]


def is_exception(refusal: Refusal, name: str) -> bool:
    """Whether the server refused something with the exception of that name."""
    return any(str(each.get("exceptionName")).endswith(f".{name}") for each in errors_of(refusal))


def errors_of(refusal: Refusal) -> list[Any]:
    """What the server says that is wrong: `context`, `message` and `exceptionName` of each."""
    found = refusal.data.get("errors") if isinstance(refusal.data, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
