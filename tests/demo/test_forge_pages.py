"""The pages of the demonstration forge."""

from __future__ import annotations

import re

import pytest

from tests import patiently
from tests.demo.forge import DemoForge, Repository, git

HOSTILE = "<script>alert('1')</script>\"><img src=x onerror=alert(1)>&lt;"


@pytest.fixture
def page(forge: DemoForge, repository: Repository) -> str:
    """The URL of a hostile pull request."""
    repository.commit("feature", {"evil<b>.html": HOSTILE + "\n"}, "Evil")
    values = {"title": HOSTILE, "body": HOSTILE + "\n" + "ü🎉" * 30_000, "head": "feature", "base": "main"}
    answer = forge.http.post(f"/repos/{repository.full_name}/pulls", json=values)
    return str(answer.raise_for_status().json()["html_url"])


def test_a_pull_request_is_shown_and_nothing_in_it_is_run(page: str) -> None:
    answer = patiently.get(page)
    assert answer.status_code == 200
    assert "<script" not in answer.text and "<img" not in answer.text
    assert answer.text.count("&lt;script&gt;") == 4  # Twice as the title, then the body and the diff.
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "ü🎉" * 30_000 in answer.text
    assert '<span class="badge open">open</span> demo wants to merge <code>feature</code>' in answer.text
    assert '<span class="added">+print(&#39;new&#39;)</span>' in answer.text


def test_invisible_characters_are_escaped(forge: DemoForge, repository: Repository) -> None:
    hidden = "\x1b]0;gotcha\x07\u202e\u200b"
    repository.commit("feature", {"gotcha.py": hidden}, "Hidden")
    values = {"title": hidden, "body": hidden, "head": "feature", "base": "main"}
    page = forge.http.post(f"/repos/{repository.full_name}/pulls", json=values).json()["html_url"]
    shown = patiently.get(page).text
    assert shown.count("\\x1b]0;gotcha\\x07\\u202e\\u200b") == 4
    assert not set("\x1b\x07\u202e\u200b") & set(shown)


def test_the_lists_link_to_it(forge: DemoForge, repository: Repository, page: str) -> None:
    assert f'href="/{repository.full_name}"' in patiently.get(forge.url).text
    for path in (repository.full_name, f"{repository.full_name}/pulls"):
        shown = patiently.get(f"{forge.url}/{path}").text
        assert f'href="/{repository.full_name}/pull/1"' in shown and "<script" not in shown


def test_the_button_merges(page: str, repository: Repository) -> None:
    shown = patiently.get(page).text
    [secret] = set(re.findall(r'name="secret" value="([^"]+)"', shown))
    assert f'action="/{repository.full_name}/pull/1/merge"' in shown
    answer = patiently.post(f"{page}/merge", data={"secret": secret})
    assert answer.status_code == 303
    shown = patiently.get(page).text
    assert '<span class="badge merged">merged</span>' in shown and "<form" not in shown
    assert "feature.py" in git("ls-tree", "--name-only", "main", at=repository.folder).stdout
    assert patiently.post(f"{page}/merge", data={"secret": secret}).status_code == 405


def test_a_draft_is_made_ready_and_one_can_be_closed(forge: DemoForge, repository: Repository) -> None:
    values = {"title": "T", "head": "feature", "base": "main", "draft": True}
    page = forge.http.post(f"/repos/{repository.full_name}/pulls", json=values).json()["html_url"]
    shown = patiently.get(page).text
    secret = re.findall(r'name="secret" value="([^"]+)"', shown)[0]
    assert "/merge" not in shown
    patiently.post(f"{page}/ready", data={"secret": secret})
    assert "/merge" in patiently.get(page).text
    patiently.post(f"{page}/close", data={"secret": secret})
    assert forge.pulls(repository.full_name)[0]["state"] == "closed"


def test_no_other_site_can_press_the_button(page: str, repository: Repository) -> None:
    main = repository.branches()["main"]
    assert patiently.post(f"{page}/merge").status_code == 403
    assert patiently.post(f"{page}/merge", data={"secret": "guessed"}).status_code == 403
    assert patiently.get(f"{page}/merge").status_code == 404
    # A name that somebody let point to loopback would read the secret first.
    answer = patiently.get(page, headers={"Host": "evil.example"})
    assert answer.status_code == 403 and "secret" not in answer.text
    assert repository.branches()["main"] == main


def test_a_conflict_has_no_merge_button(page: str, repository: Repository) -> None:
    repository.commit("main", {"feature.py": "ours\n"}, "Ours")
    shown = patiently.get(page).text
    assert "There are conflicts" in shown and "/merge" not in shown


def test_a_missing_page_is_not_found(forge: DemoForge, repository: Repository) -> None:
    for path in ("none/none", f"{repository.full_name}/pull/7", f"{repository.full_name}/other", "favicon.ico"):
        assert patiently.get(f"{forge.url}/{path}").status_code == 404
