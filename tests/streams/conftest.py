"""Two web processes on one database, which share nothing else. The record is written to by the tests themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests import patiently
from tests.api.calling import Api
from tests.api.conftest import ada, api, app, join, make_runner, make_site, worker
from tests.deployment import Deployment, wait_for
from tests.matrix import FULL
from tests.ports import free_port
from tests.streams.reading import Stream

__all__ = ["ada", "api", "app", "join", "make_runner", "make_site", "worker"]
MOST_OF_ACCOUNT, MOST_OF_SECOND = 200 if FULL else 50, 3
# Four of these are the time after which a client that reads nothing is dropped.
HEARTBEAT_SECONDS = 6.0
SETTINGS = {
    "WEB_PROCESSES": "1",
    "STREAM_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
    "MAX_ACCOUNT_LISTENERS": str(MOST_OF_ACCOUNT),
    "BROKER_URL": "redis+socket:///nonexistent/broker.sock?virtual_host=0",
}


@pytest.fixture(scope="session")
def servers(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The addresses of two web processes. The second takes few streams."""
    deployment = Deployment(tmp_path_factory.mktemp("streams"), database_url, free_port(), forked=True, **SETTINGS)
    ports = [deployment.settings["WEB_PORT"], str(free_port())]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    (deployment.folder / "tmp").mkdir()
    try:
        deployment.start("web-1", "web")
        deployment.start("web-2", "web", WEB_PORT=ports[1], MAX_LISTENERS=str(MOST_OF_SECOND))
        for url in urls:
            wait_for("the API", lambda url=url: patiently.get(f"{url}/readyz").status_code == 200)
        yield urls
    finally:
        deployment.stop_all()


@pytest.fixture
def listen(servers: list[str], api: Api) -> Iterator[Callable[..., Stream]]:
    """Open a stream, on the first server and with the administrator's token unless others are given."""
    opened: list[Stream] = []

    def open_stream(path: str, after: str | None = None, *, server: int = 0, token: str | None = None) -> Stream:
        opened.append(Stream(servers[server], path, token or api.token or "", after))
        return opened[-1]

    yield open_stream
    for stream in opened:
        stream.close()
