"""The REST API of Azure DevOps: its addresses, its tokens, and how it says that a token is not valid.

https://learn.microsoft.com/rest/api/azure/devops/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from workers.forges.http import Answer, Limits
from workers.forges.places import location, no_repository
from workers.forges.rest import Rest, basic
from workers.job import Host

PERMISSION = (
    'The token needs "Code: Read & write", for checks also "Build: Read", for labels "Work '
    'Items: Read" and for reviewers "Identity: Read". Its owner must be able to push here and to contribute to pull '
    "requests. Set the site's access_token to one that has these and is not expired."
)
_VERSION = "7.1"
_SERVICE, _OLD_SERVICE = "dev.azure.com", ".visualstudio.com"
_EXAMPLE = "https://dev.azure.com/organization/project/_git/repository"
# RFC 7519. A personal access token has no dots.
_ENTRA_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")


@dataclass(frozen=True)
class Place:
    """Where a repository is. `organization` is the URL of its organization, or of its collection on a server of one's own."""

    organization: str
    project: str
    name: str

    @property
    def full_name(self) -> str:
        """For people."""
        return f"{urlsplit(self.organization).path.strip('/')}/{self.project}/{self.name}".lstrip("/")

    @property
    def repository(self) -> str:
        """The path of the repository in the API."""
        return f"/{quote(self.project, safe='')}/_apis/git/repositories/{quote(self.name, safe='')}"

    @property
    def page(self) -> str:
        """The web page of the repository."""
        project = "" if self.project == self.name else f"/{quote(self.project, safe='')}"
        return f"{self.organization}{project}/_git/{quote(self.name, safe='')}"

    @property
    def identities(self) -> str:
        """Where people and teams are looked up: the service has a host of its own for them."""
        host = urlsplit(self.organization).hostname or ""
        if host == _SERVICE:
            return self.organization.replace(f"//{_SERVICE}", f"//vssps.{_SERVICE}", 1)
        if host.endswith(_OLD_SERVICE):
            return f"https://{host.removesuffix(_OLD_SERVICE)}.vssps{_OLD_SERVICE}"
        return self.organization


def place_of(repo_url: str, api_url: str | None) -> Place:
    """The place of `https://dev.azure.com/organization/project/_git/name`. The project is left out if it has that name, too.

    `api_url` is the URL of the organization or collection, if that does not follow from `repo_url`. Raises EngineError
    `forge_refused`.
    """
    server, path = location(repo_url)
    before, mark, name = f"/{path}".rpartition("/_git/")
    if not mark or not name or "/" in name:
        raise no_repository(_EXAMPLE)
    parts = _names(before)
    if api_url:
        organization, within = api_url.rstrip("/"), _names(unquote(urlsplit(api_url).path))
        rest = parts[len(within) :] if parts[: len(within)] == within else parts[-1:]
    elif server.lower().endswith(_OLD_SERVICE):
        organization, rest = server, [each for each in parts if each != "DefaultCollection"]
    else:
        owners = parts[:-1] or parts
        organization, rest = "/".join([server, *(quote(each, safe="") for each in owners)]), parts[len(owners) :]
        if not owners:
            raise no_repository(_EXAMPLE)
    if len(rest) > 1:
        raise no_repository(_EXAMPLE)
    return Place(organization, rest[0] if rest else name, name)


def _names(path: str) -> list[str]:
    return [each for each in path.split("/") if each]


def authorization_of(token: str) -> str:
    """The header for a token of Entra, which is a JSON Web Token, or for a personal access token."""
    if _ENTRA_TOKEN.fullmatch(token):
        return f"Bearer {token}"
    return basic(token if ":" in token else f":{token}")


class AzureRest(Rest):
    """Calls the API at the URL of an organization. Each request names the version of the API."""

    def __init__(self, organization: str, token: str, host: Host, limits: Limits, permission: str = PERMISSION) -> None:
        authorization = authorization_of(token)
        super().__init__(
            "Azure DevOps", organization, token, host, limits, permission=permission, authorization=authorization
        )

    def _send(
        self,
        method: str,
        target: str,
        body: Mapping[str, Any] | None,
        kept: int | None = None,
        accept: str = "application/json",
    ) -> Answer:
        # The location of a redirect has it already.
        if "api-version=" not in target:
            target += f"{'&' if '?' in target else '?'}api-version={_VERSION}"
        answer = super()._send(method, target, body, kept, accept)
        return replace(answer, status=401, text="") if _is_sign_in(answer) else answer


class AzureRepository:
    """A repository as the server knows it, which is asked once, at the first use. Raises what `Rest.get` does."""

    def __init__(self, rest: AzureRest, place: Place) -> None:
        self._rest, self._place = rest, place

    @property
    def path(self) -> str:
        """The API's path of the repository by its id: one that moved is found by its old name for reading only."""
        return f"/{self.project_id}/_apis/git/repositories/{self._found['id']}"

    @property
    def project_id(self) -> str:
        return str(self._found["project"]["id"])

    @cached_property
    def _found(self) -> Any:
        return self._rest.get(self._place.repository, f"the repository {self._place.full_name}")


def _is_sign_in(answer: Answer) -> bool:
    """Whether a person would be asked to sign in, which is how some tokens are refused: by a page, or a redirect to it."""
    place = next((value for name, value in answer.headers.items() if name.lower() == "location"), "")
    return answer.status == 203 or (answer.status in (302, 303) and "/_signin" in urlsplit(place).path)
