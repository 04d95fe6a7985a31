"""What every adapter does, against the demonstration forge, which has the API of each."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.demo.forge import DemoForge, Repository, with_feature
from tests.workers.forges.conftest import HOST
from workers.errors import EngineError
from workers.forges.base import CommitStatus, Forge, PullRequest
from workers.forges.checks import Check, Outcome
from workers.forges.http import DEFAULT_LIMITS, Limits
from workers.forges.places import api_and_path
from workers.forges.registry import ADAPTERS, make_checks, make_forge

KINDS = list(ADAPTERS)
APIS = {
    "github": "/api/v3",
    "gitlab": "/api/v4",
    "gitea": "/api/v1",
    "bitbucket": "/2.0",
    "azure_devops": "/acme",
    "bitbucket_data_center": "/rest",
}
WITHOUT_LABELS = ("bitbucket", "bitbucket_data_center")
WITHOUT_ASSIGNEES = (*WITHOUT_LABELS, "azure_devops")
WITH_TEAMS = ("github", "gitea", "azure_devops")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def adapter(
    kind: str, forge: DemoForge, full_name: str, token: str | None = None, limits: Limits = DEFAULT_LIMITS
) -> Forge:
    return make_forge(kind, forge.repo_url(kind, full_name), None, token or forge.token, HOST, limits)


def opened(forge: Forge, **values: Any) -> PullRequest:
    pull = {"branch": "feature", "base": "main", "title": "A feature", "body": "What it does", "draft": False}
    return forge.create_pull_request(**{**pull, **values})


def refused(code: str, action: Callable[[], object]) -> EngineError:
    with pytest.raises(EngineError) as caught:
        action()
    assert (caught.value.code, caught.value.stage) == (code, "publish"), caught.value.message
    assert caught.value.retryable == (code == "forge_unreachable")
    return caught.value


def test_one_is_opened_changed_closed_and_merged(kind: str, forge: DemoForge, repository: Repository) -> None:
    name = repository.full_name
    made = adapter(kind, forge, name)
    assert made.find_pull_request("feature") is None
    pull = opened(made, draft=True)
    assert (pull.number, pull.state, pull.title, pull.body) == (1, "draft", "A feature", "What it does")
    assert (pull.branch, pull.base, pull.head_sha) == ("feature", "main", repository.branches()["feature"])
    assert pull.url.startswith(f"{forge.url}/") and "/app-" in pull.url and pull.url.endswith("/1")
    assert made.find_pull_request("feature") == made.get_pull_request(1) == pull
    assert made.find_pull_request("featur") is None
    changed = made.update_pull_request(1, title="Ünï 🎉 <b>")
    assert (changed.title, changed.state) == ("Ünï 🎉 <b>", "draft")
    changed = made.update_pull_request(1, body="é\r\n", draft=False)
    assert (changed.title, changed.body, changed.state) == ("Ünï 🎉 <b>", "é\r\n", "open")
    assert made.update_pull_request(1, draft=True).state == "draft"
    assert made.update_pull_request(1, draft=True).state == "draft"
    forge.close(name, 1)
    assert made.get_pull_request(1).state == made.find_pull_request("feature").state == "closed"
    assert opened(made).state == "open"
    assert made.find_pull_request("feature").number == 2
    forge.merge(name, 2)
    assert made.get_pull_request(2).state == made.find_pull_request("feature").state == "merged"


def test_one_that_was_merged_is_found_after_its_branch_is_deleted(
    kind: str, forge: DemoForge, repository: Repository
) -> None:
    made = adapter(kind, forge, repository.full_name)
    opened(made)
    forge.merge(repository.full_name, 1)
    repository.git("update-ref", "-d", "refs/heads/feature")
    assert made.find_pull_request("feature").state == "merged"


def test_a_second_one_for_the_same_branches_is_refused(kind: str, forge: DemoForge, repository: Repository) -> None:
    outcomes: list[str] = []
    start = threading.Barrier(3)

    def create() -> None:
        made = adapter(kind, forge, repository.full_name)
        made.find_pull_request("feature")
        start.wait()
        try:
            opened(made)
            outcomes.append("opened")
        except EngineError as failure:
            outcomes.append(failure.code)

    threads = [threading.Thread(target=create) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if kind == "bitbucket":
        # Several at once are the same one there.
        assert set(outcomes) <= {"opened", "pull_request_exists"} and "opened" in outcomes
    else:
        assert sorted(outcomes) == ["opened", *["pull_request_exists"] * 2]
    [pull] = forge.pulls(repository.full_name)
    refused("pull_request_exists", lambda: opened(adapter(kind, forge, repository.full_name), title="Another"))
    assert forge.pulls(repository.full_name) == [pull], "it is as it was"


def test_labels_reviewers_and_assignees_are_added_and_unknown_ones_named(
    kind: str, forge: DemoForge, repository: Repository
) -> None:
    adapted = adapter(kind, forge, repository.full_name)
    number = opened(adapted).number
    has_labels, has_assignees = kind not in WITHOUT_LABELS, kind not in WITHOUT_ASSIGNEES
    labels = ["no such, label", "agent", "agnet"]
    assert adapted.add_labels(number, ["bug"]) == ([] if has_labels else ["bug"])
    assert adapted.add_labels(number, labels) == (["no such, label", "agnet"] if has_labels else labels)
    assert adapted.request_reviews(number, ["ada"]) == []
    assert adapted.request_reviews(number, ["nobody", "grace", "ada"]) == ["nobody"]
    people = ["nobody", "stranger", "ada"]
    assert adapted.assign(number, ["grace"]) == ([] if has_assignees else ["grace"])
    assert adapted.assign(number, people) == (["nobody", "stranger"] if has_assignees else people)
    [pull] = forge.pulls(repository.full_name)
    assert [each["name"] for each in pull["labels"]] == (["bug", "agent"] if has_labels else [])
    assert {each["login"] for each in pull["requested_reviewers"]} == {"ada", "grace"}
    assert {each["login"] for each in pull["assignees"]} == ({"ada", "grace"} if has_assignees else set())
    if kind in WITH_TEAMS:
        # The author may review elsewhere.
        own = [] if kind == "azure_devops" else ["demo"]
        assert adapted.request_reviews(number, ["acme/backend", "acme/nobody", *own]) == ["acme/nobody", *own]
        [pull] = forge.pulls(repository.full_name)
        assert [each["slug"] for each in pull["requested_teams"]] == ["backend"]
    reader = adapter(kind, forge, repository.full_name, forge.read_only_token)
    refused("forge_auth", lambda: reader.request_reviews(number, ["demo"]))
    if has_labels:
        refused("forge_auth", lambda: reader.add_labels(number, ["bug"]))
    if has_assignees:
        refused("forge_auth", lambda: reader.assign(number, ["demo"]))


def test_a_status_is_set_however_often(kind: str, forge: DemoForge, repository: Repository) -> None:
    sha, adapted = repository.branches()["feature"], adapter(kind, forge, repository.full_name)
    for _ in range(2):
        adapted.set_status(sha, CommitStatus("https://runners.example.org/runners/1", "Made by codex"))
    place = (kind, forge.repo_url(kind, repository.full_name), None, forge.token, HOST)
    [shown] = make_checks(*place).find(sha)
    assert shown == Check(
        "agent-runners", Outcome.PASSED, "Made by codex", "https://runners.example.org/runners/1", shown.log_id
    )
    reader = adapter(kind, forge, repository.full_name, forge.read_only_token)
    refused("forge_auth", lambda: reader.set_status(sha, CommitStatus("https://runners.example.org", "x")))
    with pytest.raises(EngineError):
        adapted.set_status("0" * 40, CommitStatus("https://runners.example.org", "x"))


def test_long_texts_are_shortened(kind: str, forge: DemoForge, repository: Repository) -> None:
    made = adapter(kind, forge, repository.full_name)
    pull = opened(made, title="x" * 500, body="y" * (made.body_characters + 1_000), draft=True)
    assert pull.title.endswith("…") and 200 < len(pull.title) <= 400
    assert len(pull.body) < made.body_characters + 1_000 and pull.body.endswith(" characters.]")


def test_branches_that_do_not_fit_are_refused(kind: str, forge: DemoForge, repository: Repository) -> None:
    for branch, base in (("nowhere", "main"), ("feature", "nowhere"), ("main", "main")):
        with pytest.raises(EngineError) as caught:
            opened(adapter(kind, forge, repository.full_name), branch=branch, base=base)
        error = caught.value
        assert error.code in ("forge_refused", "forge_not_found") and not error.retryable, (branch, base)


def test_a_bad_token_names_what_it_needs_and_not_itself(kind: str, forge: DemoForge, repository: Repository) -> None:
    for token in ("wrong-token", forge.read_only_token):
        made = adapter(kind, forge, repository.full_name, token)
        for action in (lambda made=made: opened(made), lambda made=made: made.update_pull_request(1, title="New")):
            with pytest.raises(EngineError) as caught:
                action()
            assert caught.value.code in ("forge_auth", "forge_not_found") and token not in caught.value.message
        assert "The token needs" in refused("forge_auth", lambda made=made: opened(made)).message
    refused("forge_auth", lambda: make_forge(kind, forge.repo_url(kind, repository.full_name), None, "", HOST))


def test_what_is_missing_is_not_found(kind: str, forge: DemoForge, repository: Repository) -> None:
    made = adapter(kind, forge, repository.full_name)
    refused("forge_not_found", lambda: made.get_pull_request(99))
    refused("forge_not_found", lambda: made.update_pull_request(99, title="New"))
    nothing = adapter(kind, forge, "acme/none")
    assert "acme/none" in refused("forge_not_found", lambda: nothing.find_pull_request("feature")).message


def test_a_token_that_expired_is_reported(kind: str, faulty: DemoForge) -> None:
    made = adapter(kind, faulty, with_feature(faulty).full_name)
    opened(made)
    faulty.revoke()
    assert "The token needs" in refused("forge_auth", lambda: made.get_pull_request(1)).message
    faulty.restore()
    assert made.get_pull_request(1).number == 1


def test_a_forge_that_fails_or_limits_its_callers_is_asked_again_later(kind: str, faulty: DemoForge) -> None:
    made = adapter(kind, faulty, with_feature(faulty).full_name)
    faulty.down(60)
    assert "Unicorn" not in refused("forge_unreachable", lambda: opened(made)).message
    faulty.set_faults(down=0, slow_down=40)
    assert "wait 40 seconds" in refused("forge_unreachable", lambda: opened(made)).message
    faulty.set_faults(slow_down=0, lost_answers=1)
    refused("forge_unreachable", lambda: opened(made))
    assert made.find_pull_request("feature").number == 1
    refused("pull_request_exists", lambda: opened(made))


def test_a_slow_forge_is_left(kind: str, faulty: DemoForge) -> None:
    name = with_feature(faulty).full_name
    faulty.set_faults(holds=[f"before GET {APIS[kind]}"])
    hurried = adapter(kind, faulty, name, limits=Limits(call_seconds=0.2))
    assert "timed out" in refused("forge_unreachable", lambda: hurried.get_pull_request(1)).message


def test_an_answer_that_is_too_large_is_refused(kind: str, forge: DemoForge, repository: Repository) -> None:
    made = adapter(kind, forge, repository.full_name)
    opened(made, body="y" * 60_000)
    most = min(20_000, made.body_characters)
    small = adapter(kind, forge, repository.full_name, limits=Limits(answer_bytes=most))
    assert f"{most:,} bytes" in refused("forge_refused", lambda: small.get_pull_request(1)).message


class Scripted(BaseHTTPRequestHandler):
    """Answers the beginning of a path with a status, a Location and a value, the longest that matches."""

    answers: dict[str, tuple[int, str, Any]]

    def do_GET(self) -> None:
        found = max((path for path in self.answers if self.path.startswith(path)), key=len)
        status, location, value = self.answers[found]
        self.send_response(status)
        self.send_header("Location", location)
        self.end_headers()
        echo = self.headers["Authorization"]
        self.wfile.write(json.dumps(value).replace("ECHO", echo).encode())

    do_POST = do_GET

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def scripted() -> Iterator[Callable[..., str]]:
    """Start a server with these answers; returns its URL."""
    servers = []

    def start(answers: dict[str, tuple[int, str, Any]]) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (Scripted,), {"answers": answers}))
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


GITLAB_PULL = {
    "iid": 7, "web_url": "https://gitlab.example/a/-/merge_requests/7", "state": "opened", "source_branch": "feature",
    "target_branch": "main", "sha": "a" * 40, "title": "Own", "description": None,
    "source_project_id": 5, "target_project_id": 5,
}  # fmt: skip
GITEA_PULL = {
    "number": 7, "html_url": "https://forgejo.example/a/b/pulls/7", "state": "open", "merged": False, "title": "Own",
    "body": "", "head": {"label": "feature", "ref": "feature", "sha": "a" * 40, "repo_id": 5},
    "base": {"label": "main", "ref": "main", "sha": "b" * 40, "repo_id": 5},
}  # fmt: skip
BITBUCKET_PULL = {
    "id": 7, "links": {"html": {"href": "https://bitbucket.example/a/new/pull-requests/7"}}, "state": "OPEN", "draft": False,
    "title": "Own", "description": "", "source": {"branch": {"name": "feature"}, "commit": {"hash": "a" * 12}},
    "destination": {"branch": {"name": "main"}},
}  # fmt: skip
AZURE_REPOSITORY = {"id": "r1", "name": "new", "project": {"id": "p1", "name": "new"}}
AZURE_PULL = {
    "pullRequestId": 7, "status": "active", "isDraft": False, "title": "Own", "sourceRefName": "refs/heads/feature",
    "targetRefName": "refs/heads/main", "lastMergeSourceCommit": {"commitId": "a" * 40}, "reviewers": [],
}  # fmt: skip
DATA_CENTER_PULL = {
    "id": 7, "version": 0, "state": "OPEN", "title": "Own",
    "links": {"self": [{"href": "https://bitbucket.example/projects/A/repos/new/pull-requests/7"}]},
    "fromRef": {"id": "refs/heads/feature", "latestCommit": "a" * 40, "repository": {"id": 5}},
    "toRef": {"id": "refs/heads/main", "latestCommit": "b" * 40, "repository": {"id": 5}},
}  # fmt: skip
OTHER_REPOSITORY = {**DATA_CENTER_PULL["toRef"], "repository": {"id": 6}}
MOVED = {
    "bitbucket": {
        "/2.0/repositories/a/old": (301, "/2.0/repositories/a/new", {}),
        "/2.0/repositories/a/new": (200, "", {"full_name": "a/new"}),
        "/2.0/repositories/a/new/pullrequests?q=source.repository.full_name+%3D+%22a%2Fnew%22+AND+source.branch.name": (
            *(200, ""),
            {"values": [BITBUCKET_PULL]},
        ),
        "/2.0/repositories/a/new/commit/aaaaaaaaaaaa": (200, "", {"hash": "a" * 40}),
    },
    "gitlab": {
        "/api/v4/projects/a%2Fold": (301, "/api/v4/projects/5", {}),
        "/api/v4/projects/5": (200, "", {"id": 5}),
        "/api/v4/projects/5/merge_requests": (200, "", [{**GITLAB_PULL, "source_project_id": 6}, GITLAB_PULL]),
    },
    "gitea": {
        "/api/v1/repos/a/old": (307, "/api/v1/repos/a/new", {}),
        "/api/v1/repos/a/new": (200, "", {"full_name": "a/new"}),
        "/api/v1/repos/a/new/pulls": (
            *(200, ""),
            [{**GITEA_PULL, "head": {**GITEA_PULL["head"], "repo_id": -1}}, GITEA_PULL],
        ),
    },
    "azure_devops": {
        "/a/old/_apis/git/repositories/old": (302, "/a/new/_apis/git/repositories/r1", {}),
        "/a/new/_apis/git/repositories/r1": (200, "", AZURE_REPOSITORY),
        "/a/p1/_apis/git/repositories/r1/pullrequests": (
            *(200, ""),
            {"value": [{**AZURE_PULL, "pullRequestId": 8, "forkSource": {}}, AZURE_PULL]},
        ),
        "/a/p1/_apis/git/repositories/r1/pullrequests/7": (200, "", AZURE_PULL),
    },
    "bitbucket_data_center": {
        "/rest/api/latest/projects/a/repos/old": (307, "/rest/api/latest/projects/A/repos/new", {}),
        "/rest/api/latest/projects/A/repos/new": (200, "", {"slug": "new", "project": {"key": "A"}}),
        "/rest/api/latest/projects/A/repos/new/pull-requests": (
            *(200, ""),
            {"values": [{**DATA_CENTER_PULL, "toRef": OTHER_REPOSITORY}, DATA_CENTER_PULL], "isLastPage": True},
        ),
    },
}
PATHS = {"azure_devops": "a/_git/old"}


@pytest.mark.parametrize("kind", MOVED)
def test_a_repository_that_moved_is_found_and_branches_of_forks_are_not(
    kind: str, scripted: Callable[..., str]
) -> None:
    made = make_forge(kind, f"{scripted(MOVED[kind])}/{PATHS.get(kind, 'a/old.git')}", None, "t", HOST)
    assert made.find_pull_request("feature").title == "Own"


UNEXPECTED: list[tuple[tuple[int, str, Any], str, str]] = [
    ((200, "", {"secret": "inner"}), "forge_unreachable", "did not answer like"),
    ((200, "", [1, "inner"]), "forge_unreachable", "did not answer like"),
    ((302, "http://elsewhere.example/", {}), "forge_refused", "redirects"),
    ((302, "", {}), "forge_refused", "redirects"),
    ((400, "", {"message": {"title": ["is odd"]}, "secret": "inner"}), "forge_refused", "title is odd"),
    ((403, "", {"error": "No: ECHO"}), "forge_auth", " [redacted]"),
    ((404, "", ["inner"]), "forge_not_found", "not found"),
    ((422, "", {"message": "x" * 9_000, "errors": [{"message": "y"}] * 90}), "forge_refused", "xxx"),
    ((502, "", {"secret": "inner"}), "forge_unreachable", "status 502"),
]


@pytest.mark.parametrize("kind", MOVED)
def test_any_unexpected_answer_is_an_error_that_quotes_messages_only(scripted: Callable[..., str], kind: str) -> None:
    answers: dict[str, tuple[int, str, Any]] = {}
    url = f"{scripted(answers)}/{PATHS.get(kind, 'a/b')}"
    for answer, code, words in UNEXPECTED:
        answers["/"] = answer
        made = make_forge(kind, url, None, "s3cr3t", HOST)
        message = refused(code, lambda made=made: made.get_pull_request(1)).message
        assert words in message and "inner" not in message and "s3cr3t" not in message and len(message) < 3_000


@pytest.mark.parametrize("kind", MOVED)
def test_any_question_that_is_answered_with_something_else_is_an_error(scripted: Callable[..., str], kind: str) -> None:
    url = f"{scripted({'/': (200, '', {})})}/{PATHS.get(kind, 'a/b')}"
    for ask in (
        lambda made: made.find_pull_request("feature"),
        opened,
        lambda made: made.update_pull_request(1, title="New"),
        lambda made: made.request_reviews(1, ["ada"]),
        lambda made: made.set_status("a" * 40, CommitStatus("https://runners.example.org", "Made")),
    ):
        refused("forge_unreachable", lambda ask=ask: ask(make_forge(kind, url, None, "t", HOST)))


def test_a_pull_request_without_a_page_is_an_error(scripted: Callable[..., str]) -> None:
    repository = "/rest/api/latest/projects/A/repos/new"
    pull = (200, "", {**DATA_CENTER_PULL, "links": {"self": []}})
    url = scripted({**MOVED["bitbucket_data_center"], f"{repository}/pull-requests/7": pull})
    made = make_forge("bitbucket_data_center", f"{url}/a/old.git", None, "t", HOST)
    refused("forge_unreachable", lambda: made.get_pull_request(7))


@pytest.mark.parametrize(
    ("repo_url", "api_url", "found"),
    [
        ("https://gitlab.com/a/b.git", None, ("https://gitlab.com/api/v4", "a/b")),
        ("https://gitlab.com/a/sub/group/b", None, ("https://gitlab.com/api/v4", "a/sub/group/b")),
        ("git@gitlab.com:a/sub/b.git", None, ("https://gitlab.com/api/v4", "a/sub/b")),
        ("ssh://git@h:2222/a/b.git", None, ("https://h/api/v4", "a/b")),
        ("http://h:90/a/b/", None, ("http://h:90/api/v4", "a/b")),
        ("https://h/git/lab/a/b.git", "https://h/git/lab", ("https://h/git/lab/api/v4", "a/b")),
        ("https://h/git/lab/a/b.git", "https://h/git/lab/api/v4/", ("https://h/git/lab/api/v4", "a/b")),
        ("git@h:a/b.git", "https://h/git/lab/api/v4", ("https://h/git/lab/api/v4", "a/b")),
    ],
)
def test_the_api_and_the_path_come_from_the_urls(repo_url: str, api_url: str | None, found: tuple[str, str]) -> None:
    assert api_and_path(repo_url, api_url, "/api/v4") == found


def test_a_project_in_a_subgroup_has_merge_requests(faulty: DemoForge) -> None:
    project = Repository("group/sub", "app", Path(faulty.root) / "group/sub/app.git")
    project.folder.parent.mkdir(parents=True)
    with_feature(faulty).folder.rename(project.folder)
    assert opened(adapter("gitlab", faulty, "group/sub/app")).url.endswith("/group/sub/app/-/merge_requests/1")
