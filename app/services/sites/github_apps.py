"""For which sites the operator's GitHub App replaces an access token.

A deployment may serve many accounts, and the App may be installed for repositories of all of them. So an account may use
it only for what the operator grants, and only where its tokens go to the App's own server.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from app.config import settings
from app.models import Site
from app.models.states import Forge

GITHUB = "https://github.com"
_PATH = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def find_repository(site: Site) -> str | None:
    """`owner/name` of the site's repository, if the site uses the App for it."""
    if not settings().github_app_id or site.forge != Forge.GITHUB or site.has_access_token or site.forge_api_url:
        return None
    full_name = _on_server(site.repo_url, settings().github_app_url or GITHUB)
    if full_name is None:
        return None
    wanted = {full_name.lower(), full_name.lower().partition("/")[0]}
    grants = (grant.partition("=") for grant in settings().github_app_grants)
    is_granted = any(who in ("*", str(site.account_id)) and what.lower() in wanted for who, _, what in grants)
    return full_name if is_granted else None


def _on_server(repo_url: str, server: str) -> str | None:
    """`owner/name` of a repository on the server. Over ssh, only the host is the same."""
    ours, its = urlsplit(server), urlsplit(repo_url)
    if its.scheme == "ssh":
        is_there = its.hostname == ours.hostname
    else:
        is_there = (its.scheme, its.netloc.lower()) == (ours.scheme, ours.netloc.lower())
    path = unquote(its.path).strip("/").removesuffix(".git")
    return path if is_there and _PATH.fullmatch(path) else None
