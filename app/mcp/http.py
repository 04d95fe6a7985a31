"""The tools over streamable HTTP. Each request carries a token, and acts with its rights.

There are no sessions to keep: every request is complete in itself, so a restart interrupts no client.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio.to_thread
import httpx
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response

from app.client import Client, ClientError
from app.mcp.connections import MOST_CONNECTIONS, Connection
from app.mcp.server import create_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATH = "/mcp"
HEALTH = "/healthz"
LARGEST_BODY = 1024 * 1024
BODY_SECONDS = 30.0
MOST_CALLS_OF_A_USER, MOST_CALLS_OF_AN_ACCOUNT = 10, 50
_CHALLENGE = 'Bearer realm="agent-runners"'
_LOCAL = ("127.0.0.1:*", "localhost:*", "[::1]:*")

_client: ContextVar[Client] = ContextVar("client")


def serve(host: str, port: int, *, api_url: str, public_url: str) -> None:
    """Serve until a signal: the tools, which call the API at `api_url`. Callers know us by `public_url`."""
    uvicorn.run(
        create_app(api_url, public_url=public_url),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        http=Connection,
        # Beyond that, connections without a request are closed. If each has one, further ones get 503.
        limit_concurrency=MOST_CONNECTIONS + 1,
        timeout_graceful_shutdown=5,
    )


def create_app(api_url: str, *, public_url: str, transport: httpx.BaseTransport | None = None) -> ASGIApp:
    """The ASGI application. `transport` takes the place of the network between it and the API."""
    server = create_server(_client.get)

    @server.custom_route(HEALTH, ["GET"])
    async def healthy(_request: object) -> Response:
        return Response("ok")

    public = urlsplit(public_url)
    security = TransportSecuritySettings(
        allowed_hosts=[public.netloc, *_LOCAL], allowed_origins=[f"{public.scheme}://{public.netloc}"]
    )
    app = server.streamable_http_app(
        streamable_http_path=PATH, json_response=True, stateless_http=True, transport_security=security
    )
    return _Door(app, api_url, transport or httpx.HTTPTransport())


class _Door:
    """Lets requests in that have a good token, are small and arrive soon, and only so many of one user and account at once."""

    def __init__(self, app: ASGIApp, api_url: str, transport: httpx.BaseTransport) -> None:
        self._app = app
        self._api_url = api_url
        self._transport = transport
        self._calls: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            # A call that waits for the end of a run holds one.
            anyio.to_thread.current_default_thread_limiter().total_tokens = MOST_CONNECTIONS
        if scope["type"] != "http" or scope["path"] == HEALTH:
            await self._app(scope, receive, send)
            return
        try:
            await self._let_in(scope, receive, send)
        except _Refused as refusal:
            await refusal.response(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A stream of notifications (GET) would never have any, and there is no session to end (DELETE).
        if scope["method"] != "POST":
            raise _Refused(405, "Only POST is served here.", {"Allow": "POST"})
        client = self._client_of(Headers(scope=scope).get("authorization", ""))
        user, account = await _identify(client)
        with self._counted(user, MOST_CALLS_OF_A_USER), self._counted(account, MOST_CALLS_OF_AN_ACCOUNT):
            body = await _read(receive)
            _client.set(client)
            await self._app(scope, _replay(body, receive), send)

    def _client_of(self, authorization: str) -> Client:
        scheme, _, token = authorization.partition(" ")
        # A header of a request to the API can have no other characters.
        if scheme.lower() != "bearer" or not token.strip() or not token.isascii():
            message = "The request has no bearer token. Send the header Authorization: Bearer <token>."
            raise _Refused(401, message, {"WWW-Authenticate": _CHALLENGE})
        # It is not closed, because all share the connections. Nothing is sent again here: the caller decides.
        return Client(self._api_url, token.strip(), retries=0, transport=self._transport)

    @contextmanager
    def _counted(self, whose: str, most: int) -> Iterator[None]:
        """Count a call of a user or an account, by the id."""
        if self._calls[whose] >= most:
            message = f"You, or your account, have {most} calls in progress, which is the limit. Wait for one to end."
            raise _Refused(429, message, {"Retry-After": "5"})
        self._calls[whose] += 1
        try:
            yield
        finally:
            self._calls[whose] -= 1
            if not self._calls[whose]:
                del self._calls[whose]


class _Refused(Exception):
    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.response = JSONResponse({"message": message}, status, headers)


async def _identify(client: Client) -> tuple[str, str]:
    """The id of the user whose token it is, and that of the account."""
    try:
        me = await anyio.to_thread.run_sync(client.me)
    except ClientError as error:
        if error.status == httpx.codes.UNAUTHORIZED:
            raise _Refused(401, str(error), {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'}) from error
        status = 429 if error.status == httpx.codes.TOO_MANY_REQUESTS else 503
        raise _Refused(status, str(error), {"Retry-After": f"{error.retry_after or 5:.0f}"}) from error
    return str(me["id"]), str(me["account"]["id"])


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    raise _Refused(413, f"The request is larger than {LARGEST_BODY} bytes.", {"Connection": "close"})
                if not message.get("more_body"):
                    return bytes(body)
    except TimeoutError:
        raise _Refused(408, f"The request took longer than {BODY_SECONDS:g} s.", {"Connection": "close"}) from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """What receives the body that was read already, and then what follows it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
