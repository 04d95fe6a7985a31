"""Secrets are looked for beside other work, and no longer than the answer is wanted."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.redaction.secrets import Secrets
from tests.workers.repositories import git, make_origin
from workers.repository.git import Git, GitFailed
from workers.repository.objects import Objects
from workers.repository.trees import Change
from workers.workspace.secret_search import searching

NOTHING = b"0" * 40
MANY = 100_000


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    return make_origin(tmp_path / "origin", {"secret": "the password is correct-horse-battery\n"})


@pytest.fixture
def objects(origin: Path) -> Iterator[Objects]:
    with closing(Objects(Git(origin / ".git"))) as made:
        yield made


@pytest.fixture
def change(origin: Path) -> Change:
    return Change(b"secret", b"000000", b"100644", NOTHING, git(origin, "rev-parse", "HEAD:secret").encode())


class Reading(Secrets):
    """Reads on when it is told to, and counts the pieces."""

    def __init__(self) -> None:
        self.has_begun, self.goes_on = threading.Event(), threading.Event()
        self.pieces = 0

    def are_in(self, chunks: Iterable[bytes]) -> bool:
        for chunk in chunks:
            if b"password" in chunk:
                self.pieces += 1
                self.has_begun.set()
                self.goes_on.wait(300)
        return False


@pytest.mark.parametrize(("value", "expected"), [("correct-horse-battery", True), ("another-password", False)])
def test_the_answer_is_waited_for(objects: Objects, change: Change, value: str, expected: bool) -> None:
    with searching(objects, [change], Secrets(value)) as answer:
        assert answer() is expected


def test_an_error_of_the_search_is_raised(objects: Objects, change: Change) -> None:
    lost = Change(b"lost", b"000000", b"100644", NOTHING, b"1" * 40)

    class Refusing(Secrets):
        def are_in(self, chunks: Iterable[bytes]) -> bool:
            raise GitFailed("cat-file", 128, "damaged", "diff")

    with searching(objects, [change, lost], Refusing()) as answer, pytest.raises(GitFailed):
        answer()


def test_no_time_left_is_no_answer(objects: Objects, change: Change) -> None:
    class Slow(Secrets):
        def are_in(self, chunks: Iterable[bytes]) -> bool:
            raise TimeoutError

    with searching(objects, [change], Slow()) as answer:
        assert answer() is None


def test_a_search_ends_when_the_other_work_fails(objects: Objects, change: Change) -> None:
    secrets = Reading()
    with pytest.raises(ZeroDivisionError), searching(objects, [change] * MANY, secrets):
        assert secrets.has_begun.wait(300)
        # The search goes on when its context has ended. If it does so before, it still has much to read until then.
        threading.Timer(0.1, secrets.goes_on.set).start()
        raise ZeroDivisionError
    assert 0 < secrets.pieces < MANY
    assert not [each for each in threading.enumerate() if each.name.startswith("secrets")]
    assert next(objects.sizes([change.new_id])) is not None, "the objects can be read again"
