"""Who is asking: tokens, as GitHub takes them."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from email.message import Message

from app.demo.forge.messages import Refused, bad_credentials, not_found
from app.demo.forge.repositories import Repositories, Repository

LOGIN = "demo"


@dataclass(frozen=True)
class Caller:
    """Somebody with a token that is good."""

    login: str
    may_write: bool


class Access:
    """Knows the tokens. All of them may read every repository."""

    def __init__(self, tokens: Iterable[str], read_only_tokens: Iterable[str] = ()) -> None:
        self._tokens = dict.fromkeys(read_only_tokens, False) | dict.fromkeys(tokens, True)
        self._revoked: set[str] = set()

    def caller(self, headers: Message) -> Caller | None:
        """None where no token is shown. Raise `Refused` 401 for one that is not, or no longer, good.

        https://docs.github.com/en/rest/authentication/authenticating-to-the-rest-api
        """
        shown = _shown_token(headers.get("Authorization", ""))
        if shown is None:
            return None
        for token, may_write in self._tokens.items():
            if hmac.compare_digest(token.encode(), shown) and token not in self._revoked:
                return Caller(LOGIN, may_write)
        raise bad_credentials()

    def owns(self, headers: Message) -> bool:
        """Whether a writing token is shown that the forge was started with, revoked meanwhile or not."""
        shown = _shown_token(headers.get("Authorization", "")) or b""
        return any(may and hmac.compare_digest(token.encode(), shown) for token, may in self._tokens.items())

    def revoke(self) -> None:
        """No token is good any more."""
        self._revoked = set(self._tokens)

    def restore(self) -> None:
        self._revoked = set()


def readable(repositories: Repositories, caller: Caller | None, owner: str, name: str) -> Repository:
    """The repository, if there is one and the caller may see it. Raise `Refused` 404 for both alike, as GitHub does."""
    repository = repositories.find(owner, name)
    if repository is None or (repository.is_private and caller is None):
        raise not_found()
    return repository


def require_writer(caller: Caller | None) -> None:
    """Raise `Refused` 401 or 403 for a caller who may not write."""
    if caller is None:
        raise Refused(401, "Requires authentication")
    if not caller.may_write:
        raise Refused(403, "Resource not accessible by personal access token")


def _shown_token(authorization: str) -> bytes | None:
    """The token in a header: of `Bearer`, of `token`, or the password of `Basic`, with any user name."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() in ("bearer", "token"):
        return value.strip().encode()
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""
