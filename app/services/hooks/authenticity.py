"""Whether a request comes from somebody who has the secret of a hook."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

PREFIX = "whsec_"
TOLERANCE_SECONDS = 300
"""How old a signature with a time may be, or how far in the future."""
_STANDARD = ("id", "timestamp", "signature")
_SECRET_BYTES = 32


@dataclass(frozen=True)
class Request:
    """What was sent. `header` finds a header by its name, in any case."""

    header: Callable[[str], str | None]
    body: bytes
    query_secret: str | None = None


def new_secret() -> str:
    """A new secret in the form of Standard Webhooks."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def is_authentic(request: Request, secret: str) -> bool:
    """Whether the request is signed with the secret, or has it.

    The first of these that the request has decides: the signature of Standard Webhooks
    (https://www.standardwebhooks.com), that of GitHub and Forgejo
    (https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries), the token of GitLab, a bearer token,
    and `secret` in the query.
    """
    if request.header("webhook-signature"):
        return has_standard_signature(request, secret)
    if signature := request.header("X-Hub-Signature-256"):
        digest = hmac.new(secret.encode(), request.body, "sha256").hexdigest()
        return equal(signature, f"sha256={digest}")
    scheme, _, bearer = (request.header("Authorization") or "").partition(" ")
    given = request.header("X-Gitlab-Token") or (bearer.strip() if scheme.lower() == "bearer" else request.query_secret)
    return given is not None and equal(given, secret)


def has_standard_signature(request: Request, secret: str) -> bool:
    """Whether the request has a signature of Standard Webhooks, with a time that is not too far from now."""
    message_id, timestamp, signatures = (request.header(f"webhook-{name}") or "" for name in _STANDARD)
    if not timestamp.isascii() or not timestamp.isdigit() or abs(time.time() - int(timestamp[:20])) > TOLERANCE_SECONDS:
        return False
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX))
    except binascii.Error:
        return False
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode(errors="replace") + request.body, "sha256")
    expected = f"v1,{base64.b64encode(digest).decode()}"
    return any(equal(signature, expected) for signature in signatures.split())


def equal(given: str, expected: str) -> bool:
    """Whether the texts are the same, found in a time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
