"""What must not be told of a site: which secrets are known, and whether a diff gives one away."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from app import artifacts, keys
from app.config import agent_environment, own_secrets, settings
from app.keys import SecretKeyChanged
from app.models import Site
from app.redaction.secrets import Secrets

TITLE_CHARACTERS = 500


def credential_of(site: Site) -> str | None:
    """The site's access token, in the clear; it goes to the one command that needs it and nowhere else."""
    return keys.decrypt(site.access_token_encrypted) if site.access_token_encrypted else None


def secrets_of(site: Site) -> Secrets:
    """Every secret that is known where the site's sessions are dealt with."""
    try:
        credential = credential_of(site)
    except SecretKeyChanged:
        # Whoever needs the token itself is told so. What cannot be read cannot be given away either.
        credential = None
    return Secrets(credential, {**own_secrets(settings()), **agent_environment(settings())})


def title_without(secrets: Secrets, title: str) -> str:
    """A title as it may be stored. What stands in the place of a secret may be longer than it was."""
    return secrets.redact(title)[:TITLE_CHARACTERS]


def holds_secret(secrets: Secrets, key: str) -> bool:
    """Whether the stored diff adds a known secret, as far as lines of text show it. Binary patches are looked into when
    the diff is published. This reads all of it, so it is to be called in no transaction."""
    return secrets.are_in(_added(artifacts.store().read(key)))


def _added(diff: Iterable[bytes]) -> Iterator[bytes]:
    """The parts of a diff that stand in lines which it adds, however long they are."""
    at_start, is_added = True, False
    for chunk in diff:
        for line in re.findall(rb"[^\n]*\n|[^\n]+", chunk):
            if at_start:
                is_added = line.startswith(b"+")
            if is_added:
                yield line
            at_start = line.endswith(b"\n")
