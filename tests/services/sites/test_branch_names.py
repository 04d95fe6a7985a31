"""The API's rule for names of branches is git's own: what the one takes the other takes, which workers ask."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.errors import Invalid
from app.services.sites.git_names import plain_branch
from tests.matrix import examples

SPECIAL = [
    "/",
    ".",
    "..",
    "@",
    "@{",
    "{",
    "-",
    ".lock",
    "HEAD",
    "refs/",
    "heads/",
    "~",
    "^",
    ":",
    "?",
    "*",
    "[",
    "\\",
    " ",
]
NAMES = st.lists(st.one_of(st.sampled_from(SPECIAL), st.characters(exclude_categories=["Cs"])), min_size=1, max_size=6)


def is_taken_by_git(name: str) -> bool:
    """Whether git takes the name; NUL cannot even be passed to it."""
    if "\0" in name:
        return False
    return (
        subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True, check=False).returncode == 0
    )


def is_taken(name: str) -> bool:
    try:
        return plain_branch("branch", name) == name
    except Invalid:
        return False


@settings(max_examples=examples(150))
@given(NAMES.map("".join))
@example("a\u200db")
@example("a\u200cb")
@example("a\u00a0b")
@example("\u202eb")
@example("a\u2028b")
@example("a\x85b")
@example("@")
@example("HEAD")
@example("HEAD/x")
@example("-x")
@example("x/-y")
@example("a.lock")
@example("a.lock/b")
@example("a.locks")
@example("a\n")
@example("a.")
@example("a./b")
@example("a/")
@example("a.LOCK")
@example("😀")
def test_the_rule_is_that_of_git(name: str) -> None:
    if not name.startswith(("refs/", "heads/")):
        assert is_taken(name) == is_taken_by_git(name)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("refs/heads/main", "main"),
        ("heads/main", "main"),
        ("feature/heads/x", "feature/heads/x"),
        ("headshot", "headshot"),
        # The full name reaches every branch there is.
        ("refs/heads/heads/x", "heads/x"),
    ],
)
def test_the_prefix_of_branches_is_removed(given: str, plain: str) -> None:
    assert plain_branch("branch", given) == plain


@pytest.mark.parametrize(
    "name", ["refs/tags/v1", "refs/heads/refs/heads/x", "refs/heads/", "heads/", "refs/heads/-x", ""]
)
def test_an_invalid_branch_is_refused_with_its_field(name: str) -> None:
    with pytest.raises(Invalid) as caught:
        plain_branch("target_branch", name)
    assert caught.value.error_code == "bad_branch" and "target_branch" in caught.value.errors
