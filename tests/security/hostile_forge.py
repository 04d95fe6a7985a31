"""A server in the place of a forge, which answers what a test says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.security.hostile_server import Reply, Server, answer
from workers.errors import EngineError
from workers.forges.base import Forge
from workers.forges.http import Limits
from workers.forges.registry import make_forge
from workers.job import Host

TOKEN = "the-token-of-the-forge"
OPEN = Host(work_dir=Path("unused"), allow_private_addresses=True)
LIMITS = Limits(call_seconds=60.0, total_seconds=90.0, calls=6, answer_bytes=200_000)
PULL = {
    "number": 1,
    "html_url": "https://forge.example/pull/1",
    "state": "open",
    "draft": False,
    "merged_at": None,
    "title": "Title",
    "body": "Body",
    "url": "/repos/acme/app/pulls/1",
    "head": {"ref": "feature", "sha": "a" * 40, "repo": None},
    "base": {"ref": "main", "sha": "b" * 40, "repo": None},
}


def forge_at(
    server: Server, host: Host = OPEN, name: str = "127.0.0.1", kind: str = "github", limits: Limits = LIMITS
) -> Forge:
    return make_forge(kind, *places(server, name, kind), TOKEN, host, limits)


def places(server: Server, name: str = "127.0.0.1", kind: str = "github") -> tuple[str, str]:
    """The URLs of a repository and of the API."""
    url = f"http://{name}:{server.port}"
    return f"{url}/acme/_git/app" if kind == "azure_devops" else f"{url}/acme/app", url


def of_repository(reply: Reply) -> Reply:
    """Answers the question for the repository as a forge does, and everything below it with `reply`."""
    repository = {"full_name": "acme/app", "owner": {"login": "acme"}, "url": "/repos/acme/app"}
    return lambda target: [answer(repository)] if target.endswith("/app") else reply(target)


def refused(action: Callable[[], object]) -> EngineError:
    with pytest.raises(EngineError) as caught:
        action()
    assert TOKEN not in caught.value.message and len(caught.value.message) < 3_000
    return caught.value
