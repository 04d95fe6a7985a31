"""Which server of a forge something is on: people's accounts belong to a server, and sites are on one."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from workers.forges.azure_rest import place_of
from workers.forges.bitbucket_api import default_api_url
from workers.forges.bitbucket_data_center_server import places
from workers.forges.github_places import parse
from workers.forges.places import location

# What the address of an API ends with, or may end with.
_API = {
    "github": r"/api/v3",
    "gitlab": r"/api/v4",
    "gitea": r"/api/v1",
    "bitbucket": r"/2\.0",
    "bitbucket_data_center": r"/rest(/api(/[\w.]+)?)?",
    "azure_devops": r"/",
}


_DEFAULT_PORTS = {"https": ":443", "http": ":80"}


def root_of(kind: str, api_url: str) -> str:
    """The URL below which a forge of that kind is, from the address of its API."""
    return re.sub(rf"({_API[kind]})?/*$", "", api_url, count=1)


def root_of_site(kind: str, repo_url: str, api_url: str | None) -> str:
    """The URL below which the forge of a site is. Raises EngineError `forge_refused` for a bad `repo_url`."""
    match kind:
        case "github":
            return root_of(kind, api_url or parse(repo_url)[1])
        case "bitbucket":
            return root_of(kind, api_url or default_api_url(repo_url) or location(repo_url)[0])
        case "bitbucket_data_center":
            return places(repo_url, api_url)[0]
        case "azure_devops":
            return place_of(repo_url, api_url).organization
    return root_of(kind, api_url or location(repo_url)[0])


def is_same(kind: str, root: str, other: str) -> bool:
    """Whether two such URLs are the same. Names of servers have no case, and neither have those of organizations. Other
    paths have: two that differ in it may be two programs."""
    return _in_one_spelling(kind, root) == _in_one_spelling(kind, other)


def _in_one_spelling(kind: str, root: str) -> tuple[str, str, str]:
    parts = urlsplit(root)
    place = parts.netloc.lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))
    return parts.scheme, place, parts.path.lower() if kind == "azure_devops" else parts.path
