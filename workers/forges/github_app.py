"""Tokens of a GitHub App, which the operator registers instead of giving each site a token.

Each token is made for one use: for one repository, with the permissions that the use needs, and GitHub ends it after an
hour. The App's key goes nowhere; what it signs goes only to the server that the operator named, whatever a site says.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import jwt

from workers.errors import EngineError
from workers.forges.apps import CHECKS, PULL_REQUESTS, GitHubApp, Use
from workers.forges.github_places import parse
from workers.forges.http import Limits
from workers.forges.rest import Refusal, Rest
from workers.job import Host

# GitHub accepts ten minutes at most, and its clock may be behind.
_LIFETIME_SECONDS, _CLOCKS_APART_SECONDS = 300, 60
_LIMITS = Limits(call_seconds=8.0, total_seconds=16.0, calls=8)
_LEVELS = ("read", "write", "admin")
_PER_PAGE, _MOST_PAGES = 100, 5


def make_token(app: GitHubApp, full_name: str, use: Use, host: Host) -> str:
    """A token for a use of one repository, `owner/name`.

    Raises EngineError `forge_app_not_installed`, `forge_app_permission`, `forge_app_refused`, `forge_app_key`, and those of
    `Forge`.
    """
    owner, _, name = full_name.partition("/")
    rest = _rest(app, host)
    what = f"the installation of the GitHub App for {full_name}"
    with rest.translated():
        try:
            found = rest.get(f"/repos/{quote(full_name)}/installation", what)
            # A repository that moved is found by its old name, but is somebody else's now.
            if found["account"]["login"].lower() != owner.lower() or found["suspended_at"]:
                raise _not_installed(full_name)
            asked = {"repositories": [name], "permissions": _permissions(use, found["permissions"], owner)}
            made = rest.call("POST", f"/app/installations/{int(found['id'])}/access_tokens", what, asked)
        except Refusal as refusal:
            if refusal.status == 401:
                raise _refused(refusal.said) from None
            # 422: the installation does not include the repository.
            if refusal.status in (404, 422) or (refusal.status == 403 and not refusal.retryable):
                raise _not_installed(full_name) from None
            raise
        return str(made["token"])


@dataclass(frozen=True)
class Registered:
    """What GitHub knows of an App."""

    name: str
    owners: frozenset[str]
    """Who has it installed, in lower case."""
    missing: tuple[str, ...]
    """Permissions that it lacks for what Agent Runners does with every repository."""


def examine(app: GitHubApp, host: Host) -> Registered:
    """Look the App up. Raises EngineError as `make_token` does."""
    rest = _rest(app, host)
    with rest.translated():
        try:
            found = rest.get("/app", "the GitHub App")
            working = [each["account"] for each in _installations(rest) if not each["suspended_at"]]
        except Refusal as refusal:
            raise _refused(refusal.said) if refusal.status in (401, 404) else refusal from None
        missing = _missing({**PULL_REQUESTS.needed, **CHECKS.needed}, found["permissions"])
        # An enterprise has no login, and no repositories either.
        owners = frozenset(account["login"].lower() for account in working if "login" in account)
        return Registered(str(found["slug"]), owners, missing)


def _installations(rest: Rest) -> list[Any]:
    found: list[Any] = []
    for page in range(1, _MOST_PAGES + 1):
        found += rest.get("/app/installations", "the installations of the App", per_page=_PER_PAGE, page=page)
        if len(found) < page * _PER_PAGE:
            break
    return found


def _rest(app: GitHubApp, host: Host) -> Rest:
    """The API, for requests that the App's key signs."""
    api = parse(f"{app.url}/owner/name")[1]
    return Rest("GitHub", api, _signed(app), host, _LIMITS, permission="It is that of a GitHub App.")


def _signed(app: GitHubApp) -> str:
    now = int(time.time())
    claims = {"iss": app.id, "iat": now - _CLOCKS_APART_SECONDS, "exp": now + _LIFETIME_SECONDS}
    try:
        return jwt.encode(claims, app.key_file.read_text(), "RS256")
    except (OSError, TypeError, ValueError, jwt.PyJWTError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no private RSA key in PEM form"
        message = (
            f"The private key of the deployment's GitHub App cannot be used: {reason}. The operator corrects "
            "AGENT_RUNNERS_GITHUB_APP_KEY_FILE; agent-runners doctor tries it."
        )
        raise EngineError("forge_app_key", "publish", message) from None


def _permissions(use: Use, granted: Mapping[str, str], owner: str) -> dict[str, str]:
    """Those for a use. GitHub refuses to make a token with more than the installation has."""
    if missing := _missing(use.needed, granted):
        message = (
            f"The deployment's GitHub App lacks permissions: {', '.join(missing)}. Its operator adds them in its settings; "
            f"then an owner of {owner} accepts them on the page of the installation."
        )
        raise EngineError("forge_app_permission", "publish", message)
    return {**use.needed, **{name: level for name, level in use.wanted.items() if not _missing({name: level}, granted)}}


def _missing(needed: Mapping[str, str], granted: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        f"{name}: {level}" for name, level in needed.items() if granted.get(name) not in _LEVELS[_LEVELS.index(level) :]
    )


def _not_installed(full_name: str) -> EngineError:
    owner = full_name.partition("/")[0]
    message = (
        f"The deployment's GitHub App is not installed for {full_name}, or is suspended. Have an owner of {owner} install it "
        "and select the repository, correct the site's repo_url if it was renamed, or set an access_token of the site."
    )
    return EngineError("forge_app_not_installed", "publish", message)


def _refused(said: str) -> EngineError:
    quoted = f": {said}" if said else ""
    message = (
        f"GitHub does not accept the deployment's GitHub App{quoted}. The operator checks AGENT_RUNNERS_GITHUB_APP_ID, that the "
        "key belongs to that App, and the clock of the worker; agent-runners doctor tries it."
    )
    return EngineError("forge_app_refused", "publish", message)
