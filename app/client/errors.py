"""The client's error: the API refused a call, or could not be reached."""

from __future__ import annotations

import base64
import hashlib
import re

import httpx

_BUSY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
_LONGEST_WAIT_SECONDS = 30.0


class ClientError(Exception):
    """A call that failed. `status` is 0 and `error_code` is `unreachable` if there was no answer at all.

    Its text is the message of the API with the remedy, and the `error_code` in brackets. `retry_after` has the seconds after which the API suggests to try again, if it does.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        error_code: str = "unreachable",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message if status == 0 else f"{message} [{error_code}]")
        self.status = status
        self.error_code = error_code
        self.retry_after = retry_after


def raise_for(response: httpx.Response) -> None:
    """Raise `ClientError` for an answer that is not a success. Its body was read."""
    if response.is_success:
        return
    try:
        body = response.json()
        message, code = str(body["message"]), str(body["error_code"])
    except (ValueError, KeyError, TypeError):
        # Something in between answered, such as a proxy.
        message = f"{response.reason_phrase}. This answer is not from the Agent Runners API; check the URL."
        code = "not_the_api"
    raise ClientError(
        message,
        status=response.status_code,
        error_code=code,
        retry_after=retry_after(response),
    )


def check_digest(response: httpx.Response) -> None:
    """Raise `ClientError` if the content of a whole answer is not what its `Repr-Digest` says."""
    found = re.search(r"sha-256=:([A-Za-z0-9+/=]+):", response.headers.get("Repr-Digest", ""))
    if (
        response.status_code == 200
        and found
        and base64.b64encode(hashlib.sha256(response.content).digest()).decode() != found[1]
    ):
        message = "The stored diff is damaged. Restore it from a backup, or run the session again."
        raise ClientError(message, status=response.status_code, error_code="artifact_damaged")


def retry_after(response: httpx.Response) -> float | None:
    """The seconds of `Retry-After`. None if it has none, or a date, which is not of this API."""
    try:
        return max(float(response.headers.get("Retry-After", "")), 0)
    except ValueError:
        return None


def seconds_to_wait(response: httpx.Response, refusals: int) -> float | None:
    """The seconds after which to send a refused call again. None if it was not refused, or for too long to wait.

    `refusals` is how often it was refused before.
    """
    if response.status_code not in _BUSY:
        return None
    wait = retry_after(response) if "Retry-After" in response.headers else 0.5 * 2**refusals
    return wait if wait is not None and wait <= _LONGEST_WAIT_SECONDS else None
