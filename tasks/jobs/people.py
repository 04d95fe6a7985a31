"""Who the people of a publication are on the site's forge: by their own accounts there, where they have connected one."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

from app import db
from app.escaping import one_line
from app.keys import SecretKeyChanged
from app.models import ForgeAccount, Site, User
from app.services.accounts import forge_accounts
from app.services.publishing.publication_attempts import PublicationClaim
from workers.errors import EngineError
from workers.forges.servers import is_same, root_of, root_of_site
from workers.publishing.pull_requests import Opener


@dataclass(frozen=True)
class Author:
    """Whom a commit names."""

    name: str
    email: str


class People:
    """The users of a site. `accounts` are theirs on any server of the site's kind of forge."""

    def __init__(self, site: Site, accounts: Iterable[ForgeAccount] = ()) -> None:
        self.site = site
        self._accounts = {each.user_id: each for each in accounts if _is_on_server_of(each, site)}

    def author(self, user: User) -> Author:
        account = self._accounts.get(user.id)
        if account is None:
            return Author(one_line(user.full_name), one_line(user.email))
        return Author(one_line(account.name or user.full_name), one_line(account.email or user.email))

    def opener(self, claim: PublicationClaim) -> Opener | None:
        """Who opens the pull request with an account of their own: the person who asks for it.

        Not for work that somebody else asked for on the forge: then the user is only the one who allowed that. The head
        may be a session of another user by then, so what asks for the pull request counts as well.
        """
        account = self._accounts.get(claim.user.id)
        is_asked_on_forge = claim.is_asked_on_forge or (claim.sessions and claim.sessions[-1].requested_by)
        if account is None or is_asked_on_forge:
            return None
        return Opener(account.login or "", functools.partial(_token_of, account))


def _is_on_server_of(account: ForgeAccount, site: Site) -> bool:
    kind = site.forge.value
    try:
        return is_same(
            kind, root_of(kind, account.forge_api_url), root_of_site(kind, site.repo_url, site.forge_api_url)
        )
    except EngineError:
        # The site's address is none of the forge, which its own use will say.
        return False


def _token_of(account: ForgeAccount) -> str:
    """The token as it is now: minutes may have passed since the publication was claimed."""
    with db.transaction(read_only=True):
        found = forge_accounts.find_connected([account.user_id], account.forge)
    if account.id not in [each.id for each in found]:
        message = "The account on the forge was removed, or its user disabled."
        raise EngineError("forge_account_not_found", "publish", message)
    try:
        return forge_accounts.token_of(account)
    except SecretKeyChanged as error:
        raise EngineError(error.error_code, "publish", error.message) from None
