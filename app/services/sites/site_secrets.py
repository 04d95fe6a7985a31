"""The known secrets of a site, and whether a diff contains one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from app import artifacts, keys
from app.config import agent_environment, settings
from app.deployment_secrets import own_secrets
from app.keys import SecretKeyChanged
from app.models import Site
from app.redaction.secrets import Secrets, prepared
from app.services.sites.forges import FORGES
from app.services.variables.values import Variables, of_site

TITLE_CHARACTERS = 500


def credential_of(site: Site) -> str | None:
    """The site's access token in plain text. It is passed only to the command that needs it."""
    encrypted = site.access_token_encrypted
    return keys.decrypt(encrypted, "The site's access_token") if encrypted else None


def git_credential_of(site: Site) -> str | None:
    """`user:password` for git over HTTPS, or `Bearer token`. The access token may have the first form already."""
    token, forge = credential_of(site), FORGES[site.forge]
    if token is None:
        return None
    user, _, password = token.rpartition(":")
    if "@" in user and forge.git_user_for_email:
        return f"{forge.git_user_for_email}:{password}"
    if user:
        return token
    return f"Bearer {token}" if forge.git_user is None else f"{forge.git_user}:{token}"


def secrets_of(site: Site, variables: Variables | None = None, also: Iterable[str] = ()) -> Secrets:
    """Every secret that may appear in the site's sessions: its access token, its variables, the agents' and our own.

    `variables` are those of the site, which are otherwise read in the transaction in progress; `also` are further secrets.
    """
    try:
        credential = credential_of(site)
    except SecretKeyChanged:
        # Code that needs the token itself gets this error. A token that cannot be decrypted cannot leak either.
        credential = None
    variables = of_site(site) if variables is None else variables
    environment = {**own_secrets(settings()), **agent_environment(settings())}
    return prepared(credential, tuple(environment.items()), (*variables.secret_values(), *also))


def title_without(secrets: Secrets, title: str) -> str:
    """A title with its secrets redacted, in one line, and cut to fit: the replacement for a secret may be longer than the
    secret."""
    return " ".join(secrets.redact(title).split())[:TITLE_CHARACTERS]


def holds_secret(secrets: Secrets, key: str) -> bool:
    """Whether the lines of text that the stored diff adds contain a known secret. Binary patches are checked when the
    diff is published. Call this outside a transaction, because it reads the whole diff."""
    return secrets.are_in(_added(artifacts.store().read(key)))


def _added(diff: Iterable[bytes]) -> Iterator[bytes]:
    """The lines that a diff adds, in pieces if they are long."""
    at_start, is_added = True, False
    for chunk in diff:
        for line in re.findall(rb"[^\n]*\n|[^\n]+", chunk):
            if at_start:
                is_added = line.startswith(b"+")
            if is_added:
                yield line
            at_start = line.endswith(b"\n")
