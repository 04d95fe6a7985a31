"""What a site's repository and its forge are given: the site's access token, or one of the operator's GitHub App."""

from __future__ import annotations

import functools
from collections.abc import Callable

from app.config import settings
from app.models import Site
from app.services.sites import github_apps, site_secrets
from tasks.jobs.host import this_host
from workers.forges.apps import GitHubApp, Use
from workers.job import Credential, Host


def git_credential_of(site: Site, use: Use) -> Credential | None:
    """What git gives the server, if there is anything. Raises `SecretKeyChanged`."""
    return site_secrets.git_credential_of(site) or _of_app(site, use)


def credential_of(site: Site, use: Use) -> Credential | None:
    """What the forge's API gets, if there is anything. Raises `SecretKeyChanged`."""
    return site_secrets.credential_of(site) or _of_app(site, use)


def _of_app(site: Site, use: Use) -> Callable[[], str] | None:
    full_name, app = github_apps.find_repository(site), github_app()
    return functools.partial(_make, app, full_name, use, this_host(site.account_id)) if full_name and app else None


def _make(app: GitHubApp, full_name: str, use: Use, host: Host) -> str:
    # Most deployments have no App, and it takes a while to import what calls a forge.
    from workers.forges.github_app import make_token

    return make_token(app, full_name, use, host)


def github_app() -> GitHubApp | None:
    """The operator's App, if there is one."""
    key_file = settings().github_app_key_file
    if key_file is None:
        return None
    return GitHubApp(settings().github_app_id, key_file, settings().github_app_url or github_apps.GITHUB)
