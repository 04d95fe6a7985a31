"""A running gateway to a model that does as the prompt says, and what it reported."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests import patiently
from tests.model_servers import KEY, ModelServer, model_server
from workers.egress.gateway.process import Ended, Gateway, Report, Used, open_gateway
from workers.egress.gateway.providers import Provider
from workers.job import Host

PREFIXES = {"anthropic": "ANTHROPIC_BASE_URL", "openai": "OPENAI_BASE_URL", "gemini": "GOOGLE_GEMINI_BASE_URL"}


@dataclass
class Calling:
    """A client of one gateway, which presents the token that the agent would have."""

    gateway: Gateway
    reports: list[Report] = field(default_factory=list)
    http: httpx.Client = field(default_factory=patiently.Client)

    @property
    def token(self) -> str:
        return self.gateway.variables["KEY"]

    def url(self, api: str) -> str:
        return self.gateway.variables[PREFIXES[api]]

    def post(self, api: str, path: str, body: object, **more: object) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}"}
        return self.http.post(self.url(api) + path, **{"json": body, "headers": headers, **more})  # type: ignore[arg-type]

    def used(self) -> list[Used]:
        return [each for each in self.reports if isinstance(each, Used)]

    def ended(self) -> list[Ended]:
        return [each for each in self.reports if isinstance(each, Ended)]


Open = Callable[..., Calling]


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


@pytest.fixture
def opened(tmp_path: Path, model: ModelServer) -> Iterator[Open]:
    """Opens gateways to the scripted model, or to another URL."""
    with contextlib.ExitStack() as stack:

        def open_one(api: str = "openai", url: str = "", *, key: str = KEY, allows: bool = True) -> Calling:
            url = url or (f"{model.url}/v1" if api == "openai" else model.url)
            provider = Provider(api, PREFIXES[api], url, {"KEY": key})  # type: ignore[arg-type]
            gateway = open_gateway(Host(tmp_path, sandbox="none"), [provider])
            calling = Calling(gateway)
            stack.callback(gateway.close)
            stack.enter_context(calling.http)

            def count(report: Report) -> bool:
                calling.reports.append(report)
                return allows

            gateway.start(count)
            return calling

        yield open_one
