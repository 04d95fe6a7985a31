"""Bitbucket Cloud's REST API for one repository: https://developer.atlassian.com/cloud/bitbucket/rest/"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from workers.forges.http import Limits
from workers.forges.places import api_and_path, location, no_repository
from workers.forges.rest import Rest, basic
from workers.job import Host

PERMISSION = (
    "The token needs to read and write repositories and pull requests: the scopes `repository:write` and "
    "`pullrequest:write` of an access token, or read and write of `repository` and `pullrequest` of an API token, which is "
    "written as `e-mail:token`. Set the site's access_token to one that has them and is not expired."
)
_HOSTS = ("bitbucket.org", "www.bitbucket.org", "altssh.bitbucket.org")
_PER_PAGE = 50
"""More than that is refused for some lists."""


class Repository:
    """A repository, and the client that its API is called with. See `Rest` for what the constructor raises.

    An access token of a repository, a project or a workspace is sent as a bearer token, and the API token of a person with
    the person's e-mail address: https://support.atlassian.com/bitbucket-cloud/docs/using-api-tokens/
    """

    def __init__(
        self,
        repo_url: str,
        api_url: str | None,
        token: str,
        host: Host,
        limits: Limits,
        permission: str = PERMISSION,
    ) -> None:
        api, self.name = api_and_path(repo_url, api_url or default_api_url(repo_url), "/2.0")
        if self.name.count("/") != 1:
            raise no_repository("https://bitbucket.org/workspace/repository")
        authorization = basic(token) if ":" in token else None
        self.rest = Rest("Bitbucket", api, token, host, limits, permission=permission, authorization=authorization)
        self._present_name: str | None = None

    @property
    def present_name(self) -> str:
        """`workspace/repository` today. One that moved is found by its old name for reading only."""
        if self._present_name is None:
            found = self.rest.get(f"/repositories/{quote(self.name)}", f"the repository {self.name}")
            self._present_name = str(found["full_name"])
        return self._present_name

    @property
    def path(self) -> str:
        """The API's path of the repository."""
        return f"/repositories/{quote(self.present_name)}"

    @property
    def workspace(self) -> str:
        """The API's path of the workspace."""
        return f"/workspaces/{quote(self.present_name.partition('/')[0])}"

    def pages(self, path: str, what: str, most_pages: int, *query: tuple[str, str]) -> Iterator[Any]:
        """The items of a list, page by page. Of the address of the next page only the query is used.

        https://developer.atlassian.com/cloud/bitbucket/rest/intro/#pagination
        """
        asked = urlencode([*query, ("pagelen", _PER_PAGE)])
        for _ in range(most_pages):
            found = self.rest.call("GET", f"{path}?{asked}", what)
            yield from found["values"]
            if not found.get("next"):
                return
            asked = urlsplit(found["next"]).query

    def get_sha(self, commit: str) -> str:
        """The full id of a commit. Pull requests name theirs by the first twelve characters."""
        return str(
            self.rest.get(f"{self.path}/commit/{quote(commit, safe='')}", f"the commit {commit} of {self.name}")["hash"]
        )


def query_of(*conditions: tuple[str, str]) -> str:
    """A query for items with these values of fields.

    https://developer.atlassian.com/cloud/bitbucket/rest/intro/#filtering
    """
    quoted = [(name, re.sub(r'([\\"])', r"\\\1", value)) for name, value in conditions]
    return " AND ".join(f'{name} = "{value}"' for name, value in quoted)


def people_of(users: Sequence[Any]) -> list[dict[str, str]]:
    """Users as the API takes them: names are not unique there."""
    return [{"uuid": str(user["uuid"])} for user in users]


def default_api_url(repo_url: str) -> str | None:
    server = urlsplit(location(repo_url)[0]).netloc.lower()
    return "https://api.bitbucket.org" if server in _HOSTS else None
