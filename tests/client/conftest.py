"""Both clients, called the same way: each test that makes one runs with each."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from app.client import AsyncClient, Client

Clients = Callable[..., Client]


class Awaiting:
    """An `AsyncClient` that is called as a `Client` is."""

    def __init__(self, client: AsyncClient, loop: asyncio.Runner) -> None:
        self._client = client
        self._loop = loop

    def __dir__(self) -> list[str]:
        return dir(self._client)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not inspect.ismethod(found):
            return found

        @functools.wraps(found)
        def call(*arguments: Any, **named: Any) -> Any:
            result = found(*arguments, **named)
            return self._iterate(result) if isinstance(result, AsyncIterator) else self._loop.run(result)

        return call

    def _iterate(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(items)

        while True:
            try:
                yield self._loop.run(following())
            except StopAsyncIteration:
                return


@pytest.fixture(params=["synchronous", "asynchronous"])
def client_of(request: pytest.FixtureRequest) -> Iterator[Clients]:
    """Makes a client whose requests are answered by a function."""
    with asyncio.Runner() as loop:

        def make(answer: Callable[[httpx.Request], httpx.Response], **options: Any) -> Any:
            options |= {"url": "http://api", "token": "token", "transport": httpx.MockTransport(answer)}
            return Client(**options) if request.param == "synchronous" else Awaiting(AsyncClient(**options), loop)

        yield make


@pytest.fixture
def answers(client_of: Clients) -> Callable[..., tuple[Client, list[httpx.Request]]]:
    """Makes a client whose requests get the given answers in turn; returns it with the list of its requests."""

    def make(*given: httpx.Response) -> tuple[Client, list[httpx.Request]]:
        sent: list[httpx.Request] = []
        left = iter(given)

        def answer(request: httpx.Request) -> httpx.Response:
            sent.append(request)
            return next(left)

        return client_of(answer), sent

    return make
