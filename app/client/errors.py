"""The client's error: the API refused a call, or could not be reached."""

from __future__ import annotations

import httpx


class ClientError(Exception):
    """A call that failed. `status` is 0 and `error_code` is `unreachable` if there was no answer at all."""

    def __init__(self, message: str, *, status: int = 0, error_code: str = "unreachable") -> None:
        super().__init__(message)
        self.status = status
        self.error_code = error_code


def raise_for(response: httpx.Response) -> None:
    """Raise `ClientError` for an answer that is not a success."""
    if response.is_success:
        return
    response.read()
    try:
        body = response.json()
        message, code = str(body["message"]), str(body["error_code"])
    except (ValueError, KeyError, TypeError):
        # Something in between answered, such as a proxy.
        message = f"{response.reason_phrase}. This answer is not from the Agent Runners API; check the URL."
        code = "not_the_api"
    raise ClientError(f"{response.status_code}: {message}", status=response.status_code, error_code=code)
