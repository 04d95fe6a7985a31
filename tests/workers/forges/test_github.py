"""What only the adapter for GitHub does, against the demonstration forge."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.demo.forge import DemoForge, Repository, with_feature
from tests.workers.forges.conftest import HOST, adapter
from workers.errors import EngineError
from workers.forges.base import Forge, PullRequest
from workers.forges.github_places import parse
from workers.forges.registry import make_forge


def opened(github: Forge, branch: str = "feature", **values: str | bool) -> PullRequest:
    pull = {"branch": branch, "base": "main", "title": "A feature", "body": "What it does", "draft": False}
    return github.create_pull_request(**{**pull, **values})  # type: ignore[arg-type]


def test_finds_the_open_one_before_a_newer_one_that_is_closed(
    github: Forge, forge: DemoForge, repository: Repository
) -> None:
    repository.commit("release", {"r": "1"}, "Release", start=repository.branches()["main"])
    opened(github)
    opened(github, base="release")
    assert github.find_pull_request("feature").number == 2
    forge.close(repository.full_name, 2)
    assert github.find_pull_request("feature").number == 1
    assert github.find_pull_request("featur") is None


@pytest.mark.parametrize(
    ("branch", "base", "words"),
    [
        ("nowhere", "main", "head is not valid"),
        ("feature", "nowhere", "base is not valid"),
        ("main", "main", "No commits between main and main"),
        ("same", "main", "No commits between main and same"),
        ("stranger", "main", "The stranger branch has no history in common with main"),
    ],
)
def test_a_refusal_quotes_the_forge(github: Forge, repository: Repository, branch: str, base: str, words: str) -> None:
    repository.move("refs/heads/same", repository.branches()["main"])
    repository.commit("stranger", {"s": "1"}, "Of no family")
    failure = refused("forge_refused", lambda: opened(github, branch, base=base))
    assert words in failure.message


def test_an_empty_title_is_refused(github: Forge) -> None:
    assert "title is missing" in refused("forge_refused", lambda: opened(github, title=" ")).message


@pytest.mark.xdist_group("without-drafts")
def test_without_drafts_an_ordinary_one_is_opened_and_stays_one(without_drafts: DemoForge) -> None:
    github = adapter(without_drafts, with_feature(without_drafts))
    assert opened(github, draft=True).state == "open"
    assert github.update_pull_request(1, draft=True).state == "open"


def test_changes_what_is_given_and_leaves_the_rest(github: Forge, forge: DemoForge, repository: Repository) -> None:
    opened(github)
    assert github.update_pull_request(1, title="New").title == "New"
    assert github.update_pull_request(1, draft=True).state == "draft"
    assert github.update_pull_request(1, draft=True).state == "draft"
    changed = github.update_pull_request(1, body="é\r\n", draft=False)
    assert (changed.title, changed.body, changed.state) == ("New", "é\r\n", "open")
    assert github.update_pull_request(1, body="").body == ""
    [now] = forge.pulls(repository.full_name)
    assert (now["title"], now["body"], now["draft"]) == ("New", "", False)
    github.update_pull_request(1, title="x" * 300, body="y" * 70_000)
    [now] = forge.pulls(repository.full_name)
    assert (len(now["title"]), len(now["body"])) == (256, 65_536)


def test_a_refused_change_is_an_error(github: Forge, forge: DemoForge, repository: Repository) -> None:
    opened(github)
    reader = adapter(forge, repository, forge.read_only_token)
    for changes in ({"title": "New"}, {"draft": True}):
        failure = refused("forge_auth", lambda changes=changes: reader.update_pull_request(1, **changes))
        assert "Pull requests: read and write" in failure.message
    refused("forge_not_found", lambda: github.update_pull_request(99, title="New"))


def test_texts_arrive_unchanged_and_long_ones_are_shortened(
    github: Forge, forge: DemoForge, repository: Repository
) -> None:
    opened(github, title="Ünï 🎉 <b>&amp;" + "x" * 300, body="é\r\n\t🎉" * 16_000)
    [pull] = forge.pulls(repository.full_name)
    assert pull["title"].startswith("Ünï 🎉 <b>&amp;x") and len(pull["title"]) == 256
    assert pull["body"].startswith("é\r\n\t🎉é") and len(pull["body"]) <= 65_536
    assert pull["body"].endswith("may have at most 65,536 characters.]")


def test_a_forge_that_is_gone_is_retryable(own_forge: DemoForge) -> None:
    github = adapter(own_forge, with_feature(own_forge))
    own_forge.kill()
    started = time.monotonic()
    failure = refused("forge_unreachable", lambda: github.find_pull_request("feature"))
    assert failure.retryable and "refused" in failure.message
    assert time.monotonic() - started < 200


class Stranger(BaseHTTPRequestHandler):
    """A server that is not a forge, and echoes requests."""

    def do_GET(self) -> None:
        status, kind = map(str, self.path.split("/")[1:3])
        texts = {
            "page": b"<html>Sign in first</html>",
            "list": b"[1, 2]",
            "broken": b'{"id": ',
            "elsewhere": b'{"url": "http://elsewhere.example/repos/a/b", "full_name": "a/b", "owner": {"login": "a"}}',
            "echo": b'{"message": "No: %s"}' % self.headers["Authorization"].encode(),
            "odd": b'{"message": "No", "errors": ["odd", {"field": "head"}, 1]}',
        }
        self.send_response(int(status))
        self.send_header("Location", "http://elsewhere.example/")
        self.send_header("X-RateLimit-Remaining", "0" if kind == "spent" else "7")
        self.end_headers()
        self.wfile.write(texts.get(kind, b"{}"))

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("200/page", "forge_unreachable"),
        ("200/list", "forge_unreachable"),
        ("200/broken", "forge_unreachable"),
        ("200/elsewhere", "forge_unreachable"),
        ("301/page", "forge_unreachable"),
        ("302/page", "forge_unreachable"),
        ("502/page", "forge_unreachable"),
        ("403/spent", "forge_unreachable"),
        ("403/echo", "forge_auth"),
        ("400/echo", "forge_refused"),
        ("422/odd", "forge_refused"),
        ("429/page", "forge_unreachable"),
        ("404/page", "forge_not_found"),
    ],
)
def test_any_unexpected_answer_is_an_engine_error(answer: str, code: str) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stranger)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        github = make_forge(
            "github", "https://github.com/a/b", f"http://127.0.0.1:{server.server_port}/{answer}", "s3cr3t", HOST
        )
        failure = refused(code, lambda: github.find_pull_request("feature"))
        assert "s3cr3t" not in failure.message and "<" not in failure.message
        assert failure.retryable == (code == "forge_unreachable")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://github.com/a/b.git", ("a/b", "https://api.github.com")),
        ("https://github.com/a/b", ("a/b", "https://api.github.com")),
        ("https://user@GitHub.com/a/b.c.git/", ("a/b.c", "https://api.github.com")),
        ("git@github.com:a/b.git", ("a/b", "https://api.github.com")),
        ("ssh://git@ghe.example:2222/a/b.git", ("a/b", "https://ghe.example/api/v3")),
        ("https://ghe.example:8443/a/b", ("a/b", "https://ghe.example:8443/api/v3")),
        ("http://127.0.0.1:90/a/b.git", ("a/b", "http://127.0.0.1:90/api/v3")),
    ],
)
def test_owner_name_and_api_come_from_the_url_of_the_repository(url: str, found: tuple[str, str]) -> None:
    assert parse(url) == found


@pytest.mark.parametrize("url", ["https://github.com/a", "file:///a/b", "https:///a/b", "https://h/a/b/c", "a/b", ""])
def test_a_url_without_a_repository_is_refused(url: str) -> None:
    refused("forge_refused", lambda: make_forge("github", url, None, "t", HOST))


def test_other_forges_and_other_addresses_are_refused() -> None:
    failure = refused("forge_unsupported", lambda: make_forge("sourceforge", "https://h/a/b", None, "t", HOST))
    assert "github" in failure.message
    for api_url in ("ftp://h", "https://user:pass@h", "h"):
        refused("forge_refused", lambda api_url=api_url: make_forge("github", "https://h/a/b", api_url, "t", HOST))


def refused(code: str, action) -> EngineError:
    with pytest.raises(EngineError) as caught:
        action()
    assert (caught.value.code, caught.value.stage) == (code, "publish"), caught.value.message
    return caught.value
