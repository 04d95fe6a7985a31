"""Requests of the client: the token, retries and pages of lists."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import anyio
import httpx

from app.client.errors import ClientError, check_digest, raise_for, seconds_to_wait

Json = dict[str, Any]


class AsyncTransport:
    """Calls one deployment with one token. Every failure is a `ClientError`.

    A call that the deployment refuses with 429 or 503 is sent again up to `retries` times: after the seconds of its
    `Retry-After`, or else with growing delays from half a second on. An answer that asks to wait more than 30 seconds
    is an error at once.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout: float = 30.0,
        retries: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._retries = retries
        # To read the certificates takes longer than a call, so both share them.
        verify = httpx.create_ssl_context() if transport is None else True
        options: Any = {"timeout": timeout, "transport": transport, "verify": verify}
        self._http = httpx.AsyncClient(
            base_url=f"{self.url}/api/v1", headers={"Authorization": f"Bearer {token}"}, **options
        )
        # Signed URLs may be those of another server, which must not see the token.
        self._store = httpx.AsyncClient(**options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()
        await self._store.aclose()

    async def _pages(self, path: str, query: Mapping[str, Any] | None = None) -> AsyncIterator[Json]:
        """The items of all pages of a list."""
        response = await self._call("GET", path, params=query)
        for item in response.json():
            yield item
        while following := response.links.get("next"):
            response = await self._call("GET", following["url"])
            for item in response.json():
                yield item

    async def _all(self, path: str, query: Mapping[str, Any] | None = None) -> list[Json]:
        items: list[Json] = []
        async for item in self._pages(path, query):
            items.append(item)
        return items

    async def _get_json(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        response = await self._call("GET", path, params=query)
        return response.json()

    async def _get_bytes(self, path: str) -> bytes:
        response = await self._call("GET", path)
        check_digest(response)
        return response.content

    async def _patch(self, path: str, fields: Json) -> Json:
        response = await self._call("PATCH", path, json=fields)
        answer: Json = response.json()
        return answer

    async def _post(self, path: str, body: Json | None = None) -> Json:
        # With the key, a call whose answer was lost can be sent again without doing the work twice.
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        response = await self._call("POST", path, json=body or {}, headers=headers)
        answer: Json = response.json() if response.content else {}
        return answer

    async def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        # A second DELETE would find nothing left to do, and report that as an error.
        lost_answers = 1 if method != "DELETE" else 0
        refusals = 0
        while True:
            try:
                response = await self._http.request(method, path, **options)
            except httpx.TransportError as error:
                if not lost_answers:
                    message = f"Cannot reach {self._http.base_url}: {error}. Check the URL, and that the server runs."
                    raise ClientError(message) from error
                lost_answers -= 1
                continue
            wait = seconds_to_wait(response, refusals)
            if wait is None or refusals == self._retries:
                raise_for(response)
                return response
            refusals += 1
            await anyio.sleep(wait)
