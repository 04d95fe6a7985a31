"""The deployment's secret key: it signs URLs and encrypts credentials in the database."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import secrets

from cryptography.fernet import Fernet, InvalidToken

from app.config import settings
from app.deployment_secrets import made_once, made_once_file
from app.errors import Unavailable


class SecretKeyChanged(Unavailable):
    """Something was encrypted with a key other than the one in use. The message names it and says what to do."""

    error_code = "secret_key_changed"


@functools.cache
def _key() -> bytes:
    text = settings().secret_key or made_once(made_once_file(settings(), "secret_key"), secrets.token_urlsafe(48))
    return hashlib.sha256(text.encode()).digest()


def _fernet() -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hmac.digest(_key(), b"encrypt", "sha256")))


def encrypt(text: str) -> str:
    return _fernet().encrypt(text.encode()).decode()


def decrypt(text: str, what: str) -> str:
    """The text that was encrypted; raises `SecretKeyChanged` if that was with another key. `what` is its name there."""
    try:
        return _fernet().decrypt(text.encode()).decode()
    except InvalidToken:
        raise SecretKeyChanged(
            f"{what} was encrypted with another AGENT_RUNNERS_SECRET_KEY. Restore that key, or set it again."
        ) from None


def fingerprint() -> str:
    """Shows whether two processes have the same key, and reveals nothing else about it."""
    return hmac.digest(_key(), b"fingerprint", "sha256").hex()[:32]


def fingerprint_of(text: str) -> str:
    """Shows whether two texts of this deployment are the same. Without the key it reveals nothing about them."""
    return hmac.digest(hmac.digest(_key(), b"fingerprint of text", "sha256"), text.encode(), "sha256").hex()[:16]


def digest(data: bytes) -> str:
    """Shows whether two requests are the same. Without the key no one can find out what is in them by guessing."""
    return hmac.digest(hmac.digest(_key(), b"digest", "sha256"), data, "sha256").hex()


def sign(text: str) -> str:
    return hmac.digest(hmac.digest(_key(), b"sign", "sha256"), text.encode(), "sha256").hex()


def is_signed(text: str, signature: str) -> bool:
    return hmac.compare_digest(sign(text).encode(), signature.encode())
