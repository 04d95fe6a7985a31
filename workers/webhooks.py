"""Sends one message to a webhook, signed as https://www.standardwebhooks.com specifies."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from workers.errors import EngineError
from workers.forges.http import BadAnswer, Client, Limits, Unreachable
from workers.job import Host

# A receiver should answer at once and do its work later.
LIMITS = Limits(call_seconds=10.0, total_seconds=10.0, calls=1, answer_bytes=64 * 1024)
_PREFIX = "whsec_"


class NotDelivered(Exception):
    """There was no answer. The message says why, and quotes nothing of the receiver."""


def deliver(
    url: str, message_id: str, body: Mapping[str, Any], secrets: Iterable[str], host: Host, limits: Limits = LIMITS
) -> int:
    """POST the message, and return the status of the answer. Redirects are not followed.

    `message_id` is the same each time that the message is sent. It is signed with each of the `secrets`. Raises
    NotDelivered, also for an address that `host` may not connect to.
    """
    content, timestamp = json.dumps(body, separators=(",", ":")), int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "agent-runners",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(secret, message_id, timestamp, content) for secret in secrets),
    }
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        return Client(url, host, limits).request("POST", target, headers, content).status
    except Unreachable as error:
        raise NotDelivered(f"The receiver did not answer: {error}.") from error
    except BadAnswer as error:
        raise NotDelivered(f"The receiver {error}.") from error
    except EngineError as error:
        is_refused = error.code == "repository_refused"
        reason = "has an address that workers do not connect to" if is_refused else "could not be resolved"
        raise NotDelivered(f"The host of the URL {reason}.") from error


def signature(secret: str, message_id: str, timestamp: int, content: str) -> str:
    """The signature of a message, with its version."""
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    digest = hmac.digest(key, f"{message_id}.{timestamp}.{content}".encode(), "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"
