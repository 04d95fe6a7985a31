"""The client of the API, for programs that use asyncio or trio."""

from app.client.asynchronous.account import AsyncAccountCalls
from app.client.asynchronous.runners import AsyncRunnerCalls
from app.client.asynchronous.sites import AsyncSiteCalls


class AsyncClient(AsyncRunnerCalls, AsyncSiteCalls, AsyncAccountCalls):
    """Calls one deployment with one token. Every failure is a `ClientError`.

    There is a method for each operation of the API. Fields that a method does not list are passed by keyword, as in the
    API: `create_site(..., setup_command=...)`. See `AsyncTransport` for retries.
    """
