"""Whom a token belongs to: the person that its forge names."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from workers.errors import EngineError
from workers.forges.azure_rest import AzureRest
from workers.forges.http import DEFAULT_LIMITS, Limits
from workers.forges.rest import Refusal, Rest
from workers.forges.servers import root_of
from workers.job import Host

PERMISSION = (
    "Connect the account again with a token of your own that is not expired and may read your profile: on GitLab the scope "
    "`read_user` or `api`, on Forgejo and Gitea `user: Read`, on Bitbucket Cloud `account`."
)
_WHAT, _LONGEST = "your profile", 200
_ADDRESS = re.compile(r"[^\s<>@]+@[^\s<>@]+")
# Control characters, separators of lines, marks that change the direction of text, and what is no text at all.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Identity:
    """A person on a forge. `email` is the address for commits; None: the forge does not tell one."""

    login: str
    name: str
    email: str | None


def get_identity(kind: str, api_url: str, token: str, host: Host, limits: Limits = DEFAULT_LIMITS) -> Identity:
    """The person whom the token belongs to, on the forge `kind` whose API is at `api_url`.

    Raises EngineError as the methods of `workers.forges.base.Forge` do.
    """
    try:
        return _checked(IDENTITIES[kind](root_of(kind, api_url), token, host, limits))
    except EngineError as error:
        raise EngineError(error.code, error.stage, _about_profile(error.message), retryable=error.retryable) from None


def _of_github(root: str, token: str, host: Host, limits: Limits) -> Identity:
    """https://docs.github.com/en/rest/users/users#get-the-authenticated-user

    Who shows no address has one that only GitHub knows:
    https://docs.github.com/en/account-and-profile/reference/email-addresses-reference#your-noreply-email-address
    """
    server = urlsplit(root).hostname or ""
    is_public = server == "api.github.com"
    rest = Rest("GitHub", root if is_public else f"{root}/api/v3", token, host, limits, permission=PERMISSION)
    with rest.translated():
        user = rest.get("/user", _WHAT)
        hidden = f"{int(user['id'])}+{user['login']}@users.noreply.{'github.com' if is_public else server}"
        return Identity(user["login"], user["name"] or user["login"], user["email"] or hidden)


def _of_gitlab(root: str, token: str, host: Host, limits: Limits) -> Identity:
    """https://docs.gitlab.com/api/users/#get-the-current-user"""
    rest = Rest("GitLab", f"{root}/api/v4", token, host, limits, permission=PERMISSION)
    with rest.translated():
        user = rest.get("/user", _WHAT)
        return Identity(user["username"], user["name"], user.get("commit_email") or user.get("email"))


def _of_gitea(root: str, token: str, host: Host, limits: Limits) -> Identity:
    """https://docs.gitea.com/api/ "Get the authenticated user" """
    rest = Rest("Forgejo or Gitea", f"{root}/api/v1", token, host, limits, permission=PERMISSION)
    with rest.translated():
        user = rest.get("/user", _WHAT)
        return Identity(user["login"], user["full_name"] or user["login"], user["email"] or None)


def _of_bitbucket(root: str, token: str, host: Host, limits: Limits) -> Identity:
    """https://developer.atlassian.com/cloud/bitbucket/rest/api-group-users/. A token may not be allowed to read addresses."""
    rest = Rest("Bitbucket", f"{root}/2.0", token, host, limits, permission=PERMISSION, authorization=_basic(token))
    with rest.translated():
        user = rest.get("/user", _WHAT)
        if "nickname" not in user:
            message = f"The token belongs to no person, but to {user['display_name']}. {PERMISSION}"
            raise EngineError("forge_auth", "publish", message)
        return Identity(user["nickname"], user["display_name"], _address_on_bitbucket(rest))


def _address_on_bitbucket(rest: Rest) -> str | None:
    try:
        found = rest.get("/user/emails", "your addresses")["values"]
    except Refusal as refusal:
        if refusal.status not in (403, 404):
            raise
        return None
    return next((each["email"] for each in found if each["is_primary"]), None)


def _of_bitbucket_data_center(root: str, token: str, host: Host, limits: Limits) -> Identity:
    """The server's own name for the user, with the details from https://developer.atlassian.com/server/bitbucket/rest/ "Get
    all users". A token of a project or a repository has none."""
    name = "Bitbucket Data Center"
    rest = Rest(name, root, token, host, limits, permission=PERMISSION, authorization=_basic(token))
    with rest.translated():
        login = rest.read_end("/plugins/servlet/applinks/whoami", _WHAT, _LONGEST, limits).strip()
        found = rest.get("/rest/api/latest/users", _WHAT, filter=login)["values"] if login else []
        user = next((each for each in found if each["name"] == login and each["type"] == "NORMAL"), None)
        if user is None:
            raise EngineError("forge_auth", "publish", f"The token belongs to no person. {PERMISSION}")
        return Identity(login, user["displayName"], user.get("emailAddress"))


def _of_azure_devops(root: str, token: str, host: Host, limits: Limits) -> Identity:
    """The answer is that of `ConnectionData` in Microsoft's clients; it is a preview in every version of the API."""
    rest = AzureRest(root, token, host, limits, PERMISSION)
    with rest.translated():
        query = {"api-version": "7.1-preview"}
        user = rest.get("/_apis/connectionData", _WHAT, **query)["authenticatedUser"]
        account = user.get("properties", {}).get("Account", {}).get("$value")
        return Identity(account or user["id"], user["providerDisplayName"], account)


_Reader = Callable[[str, str, Host, Limits], Identity]
IDENTITIES: dict[str, _Reader] = {
    "github": _of_github,
    "gitlab": _of_gitlab,
    "gitea": _of_gitea,
    "bitbucket": _of_bitbucket,
    "bitbucket_data_center": _of_bitbucket_data_center,
    "azure_devops": _of_azure_devops,
}
"""A function for each forge. It gets the URL below which the forge is."""


def _basic(token: str) -> str | None:
    """The header for a token with a name before it. Others are bearer tokens."""
    return f"Basic {base64.b64encode(token.encode()).decode()}" if ":" in token else None


def _checked(found: Identity) -> Identity:
    """The person itself, if every value is what it should be: a forge can answer anything. An address that is none is left
    out. Raises EngineError `forge_refused`."""
    for value in (found.login, found.name):
        if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST or _HARMFUL.search(value):
            message = "The forge answered with a name that is not valid. Check forge and forge_api_url."
            raise EngineError("forge_refused", "publish", message)
    email: Any = found.email
    is_text = isinstance(email, str) and len(email) <= _LONGEST and not _HARMFUL.search(email)
    return Identity(found.login, found.name, email if is_text and _ADDRESS.fullmatch(email) else None)


def _about_profile(message: str) -> str:
    """The message of a failure without what it says of sites, to which the token does not belong."""
    return re.sub(r"the site's (repo_url( and |, and | or ))?", "", message)
