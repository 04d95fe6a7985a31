"""Tokens of a GitHub App, against the demonstration forge, which refuses what GitHub refuses."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import jwt
import pytest

from tests import patiently
from tests.demo.apps import PERMISSIONS, RegisteredApp, new_key
from tests.demo.forge import DemoForge, git
from tests.workers.forges.conftest import HOST
from tests.workers.forges.contract import Contract, recorded
from workers.errors import EngineError
from workers.forges import github_app
from workers.forges.apps import CHECKS, COMMENTS, FETCH, ISSUES, PULL_REQUESTS, PUSH, READ_PULL_REQUESTS, GitHubApp, Use
from workers.forges.registry import make_checks, make_forge


@pytest.fixture(scope="module")
def forge(forge: DemoForge) -> DemoForge:
    """The shared one, with three more repositories."""
    for owner, name in (("acme", "shop"), ("acme", "other"), ("widgets", "shop")):
        repository = forge.make_repository(owner, name, {"a.txt": "a\n"}, private=True)
        repository.commit("feature", {"b.txt": "b\n"}, "B", start=repository.branches()["main"])
    return forge


@pytest.fixture(scope="module")
def registered(forge: DemoForge, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegisteredApp]:
    """Removed in the end: other tests use the forge too."""
    made = RegisteredApp(forge, tmp_path_factory.mktemp("key"))
    yield made
    made.remove()


@pytest.fixture
def app(registered: RegisteredApp) -> GitHubApp:
    """Installed for two repositories of `acme`."""
    registered.install({"owner": "acme", "repositories": ["shop", "other"]})
    return registered.used


def token(app: GitHubApp, use: Use = PULL_REQUESTS, full_name: str = "acme/shop") -> Callable[[], str]:
    return functools.partial(github_app.make_token, app, full_name, use, HOST)


def test_pull_requests_are_opened_and_checks_read_with_it(forge: DemoForge, app: GitHubApp) -> None:
    place = ("github", forge.clone_url("acme/shop"), None)
    made = make_forge(*place, token(app), HOST)
    draft = made.create_pull_request(branch="feature", base="main", title="T", body="B", draft=True)
    assert made.update_pull_request(draft.number, draft=False).state == "open"
    assert make_checks(*place, token(app, CHECKS), HOST).find("feature") == []


def test_it_is_for_one_repository_and_one_use(forge: DemoForge, app: GitHubApp) -> None:
    reads, writes, comments = token(app, FETCH)(), token(app, PUSH)(), token(app, COMMENTS)()
    for name, secret, works in (
        ("acme/shop", reads, True),
        ("acme/other", reads, False),
        ("widgets/shop", reads, False),
        ("acme/shop", comments, False),
    ):
        assert (git("ls-remote", forge.clone_url(name, secret), check=False).returncode == 0) is works
    for secret, works in ((reads, False), (writes, True)):
        assert pushed(forge, secret) is works
    for secret in (reads, writes):
        assert ask(forge, secret, "/repos/acme/shop/pulls").status_code == 403
    for secret in (comments, token(app, READ_PULL_REQUESTS)()):
        assert ask(forge, secret, "/repos/acme/shop/pulls").status_code == 200
    assert ask(forge, comments, "/repos/acme/other/pulls").status_code == 404


def pushed(forge: DemoForge, secret: str) -> bool:
    at = forge.root / "acme/shop.git"
    return (
        git("push", "--dry-run", forge.clone_url("acme/shop", secret), "main:new", at=at, check=False).returncode == 0
    )


def ask(forge: DemoForge, secret: str, path: str) -> httpx.Response:
    with patiently.Client(base_url=forge.api_url, headers={"Authorization": f"Bearer {secret}"}) as http:
        return http.get(path)


def test_no_more_is_asked_for_than_the_installation_has(registered: RegisteredApp, app: GitHubApp) -> None:
    few = {"contents": "write", "pull_requests": "write", "checks": "read", "statuses": "write"}
    registered.install({"owner": "acme", "permissions": few})
    for use in (FETCH, PUSH, PULL_REQUESTS, COMMENTS, CHECKS):
        assert token(app, use)().startswith("ghs_")
    assert "issues: write" in refused("forge_app_permission", token(app, ISSUES)).message
    registered.install({"owner": "acme", "permissions": {"contents": "read"}})
    failure = refused("forge_app_permission", token(app))
    assert "contents: write, pull_requests: write" in failure.message and "owner of acme" in failure.message


@pytest.mark.parametrize(
    "installation",
    [
        {"owner": "widgets"},
        {"owner": "acme", "repositories": ["other"]},
        {"owner": "acme", "suspended": True},
    ],
)
def test_a_repository_where_it_is_not_installed_is_named(
    registered: RegisteredApp, app: GitHubApp, installation: dict[str, object]
) -> None:
    registered.install(installation)
    failure = refused("forge_app_not_installed", token(app))
    assert "acme/shop" in failure.message and "install it" in failure.message and not failure.retryable


def test_a_repository_that_is_gone_is_not_installed(app: GitHubApp) -> None:
    refused("forge_app_not_installed", token(app, full_name="acme/gone"))


def test_a_key_or_an_id_of_another_app_is_refused(app: GitHubApp, tmp_path: Path) -> None:
    new_key(tmp_path / "other.pem")
    for wrong in (dataclasses.replace(app, key_file=tmp_path / "other.pem"), dataclasses.replace(app, id="8")):
        assert "AGENT_RUNNERS_GITHUB_APP_ID" in refused("forge_app_refused", token(wrong)).message


def test_a_key_that_cannot_be_used_is_named_without_showing_it(app: GitHubApp, tmp_path: Path) -> None:
    new_key(tmp_path / "good.pem")
    (tmp_path / "half.pem").write_text((tmp_path / "good.pem").read_text()[:400])
    (tmp_path / "text.pem").write_text("s3cr3t")
    (tmp_path / "bytes.pem").write_bytes(b"\xff\xfe")
    command = ["ssh-keygen", "-q", "-t", "ecdsa", "-m", "PEM", "-N", "", "-f", str(tmp_path / "ec.pem")]
    subprocess.run(command, check=True)
    for name in ("missing", "half", "text", "bytes", "ec"):
        failure = refused("forge_app_key", token(dataclasses.replace(app, key_file=tmp_path / f"{name}.pem")))
        assert "AGENT_RUNNERS_GITHUB_APP_KEY_FILE" in failure.message and "s3cr3t" not in failure.message


def test_a_token_that_has_expired_is_refused(registered: RegisteredApp, app: GitHubApp, forge: DemoForge) -> None:
    registered.install({"owner": "acme"}, token_seconds=-1)
    made = make_forge("github", forge.clone_url("acme/shop"), None, token(app), HOST)
    assert "ghs_" not in refused("forge_auth", lambda: made.find_pull_request("feature")).message


def test_the_forge_is_strict_with_what_the_key_signs(forge: DemoForge, app: GitHubApp) -> None:
    now = int(time.time())
    key = app.key_file.read_text()
    for claims, status in (
        ({"iss": app.id, "iat": now - 60, "exp": now + 500}, 200),
        ({"iss": app.id, "iat": now - 60, "exp": now + 700}, 401),
        ({"iss": app.id, "iat": now - 700, "exp": now - 60}, 401),
        ({"iss": "8", "iat": now - 60, "exp": now + 500}, 401),
        ({"iat": now - 60, "exp": now + 500}, 401),
    ):
        assert ask(forge, jwt.encode(claims, key, "RS256"), "/app").status_code == status
    assert ask(forge, forge.token, "/app").status_code == 401
    signed = jwt.encode({"iss": app.id, "iat": now, "exp": now + 500}, key, "RS256")
    assert ask(forge, signed, "/repos/acme/shop").status_code == 401, "it is no token for repositories"


def test_requests_and_answers_match_githubs_description(registered: RegisteredApp, forge: DemoForge) -> None:
    registered.install({"owner": "acme", "repositories": ["shop"]}, {"owner": "widgets", "suspended": True})
    with recorded(forge.url) as between:
        app = dataclasses.replace(registered.used, url=between.url)
        assert token(app)().startswith("ghs_")
        found = github_app.examine(app, HOST)
        for name in ("widgets/shop", "acme/gone"):
            refused("forge_app_not_installed", token(app, full_name=name))
        refused("forge_app_refused", token(dataclasses.replace(app, id="8")))
    assert (found.name, found.owners, found.missing) == ("agent-runners", {"acme"}, ())
    for exchange in between.exchanges:
        Contract().check(exchange)
    seen = [(each.method, each.status) for each in between.exchanges]
    assert seen == [("GET", 200), ("POST", 201), ("GET", 200), ("GET", 200), ("GET", 200), ("GET", 404), ("GET", 401)]
    asked = between.exchanges[1].sent
    assert asked == {"repositories": ["shop"], "permissions": {**PULL_REQUESTS.needed, **PULL_REQUESTS.wanted}}


def test_what_it_lacks_is_found(registered: RegisteredApp) -> None:
    registered.install(permissions={**PERMISSIONS, "contents": "read"})
    assert github_app.examine(registered.used, HOST).missing == ("contents: write",)


class Elsewhere(BaseHTTPRequestHandler):
    """A server that finds a repository by its old name, though it belongs to another owner now."""

    posts = 0

    def do_GET(self) -> None:
        account = {"id": 1, "account": {"login": "mallory"}, "suspended_at": None, "permissions": PERMISSIONS}
        self.answer(json.dumps(account))

    def do_POST(self) -> None:
        Elsewhere.posts += 1
        self.answer('{"token": "ghs_of_another"}')

    def answer(self, text: str) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_a_repository_that_moved_to_another_owner_is_refused(app: GitHubApp) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        there = dataclasses.replace(app, url=f"http://127.0.0.1:{server.server_port}")
        refused("forge_app_not_installed", token(there))
        assert Elsewhere.posts == 0
    finally:
        server.shutdown()
        server.server_close()


def refused(code: str, action) -> EngineError:
    with pytest.raises(EngineError) as caught:
        action()
    assert caught.value.code == code, caught.value.message
    return caught.value
