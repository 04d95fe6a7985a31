# Made from app/client/asynchronous by bin/generate-client. Change that, and run it again.
"""The client of the API."""

from app.client.synchronous.account import AccountCalls
from app.client.synchronous.runners import RunnerCalls
from app.client.synchronous.sites import SiteCalls


class Client(RunnerCalls, SiteCalls, AccountCalls):
    """Calls one deployment with one token. Every failure is a `ClientError`.

    There is a method for each operation of the API. Fields that a method does not list are passed by keyword, as in the
    API: `create_site(..., setup_command=...)`. See `Transport` for retries.
    """
