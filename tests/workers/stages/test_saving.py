"""What an attempt says of the work that it could not keep, or that is not to be published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workers.attempts import Attempt, Engine, code, engine_in
from tests.workers.engine import SANDBOXES, USUAL_SANDBOX, git, needs_bubblewrap
from workers.events import Step
from workers.job import Limits


@pytest.fixture(params=SANDBOXES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path, request.param) as made:
        yield made


def message_of(attempt: Attempt, title: str) -> str:
    [step] = [event for event in attempt.events if isinstance(event, Step) and event.title == title]
    return step.message


def test_a_pipe_that_git_would_read_costs_no_work_of_an_agent_that_fails(engine: Engine) -> None:
    attempt = engine.run("echo x >> README; mkfifo .gitattributes; exit 1")
    assert code(attempt.outcome) == ("agent_failed", "agent")
    assert "+x" in engine.diff


@pytest.mark.parametrize("engine", USUAL_SANDBOX, indirect=True)
def test_work_that_is_lost_because_it_is_too_much_is_named(engine: Engine) -> None:
    """Each of the files alone would fit into a diff."""
    (engine.source / "other").write_text("hello\n")
    git(engine.source, "add", ".")
    git(engine.source, "commit", "-qm", "other")
    attempt = engine.run("for f in README other; do seq 100 > $f; done; exit 1", limits=Limits(max_diff_bytes=600))
    assert code(attempt.outcome) == ("agent_failed", "agent")
    assert not engine.sink.diffs
    assert "larger than the limit of 600 bytes" in message_of(attempt, "The work could not be saved")


@pytest.mark.parametrize("engine", USUAL_SANDBOX, indirect=True)
def test_what_git_cannot_track_and_what_it_forbids_is_named(engine: Engine) -> None:
    script = """
        name=$(printf '.g\\342\\200\\214it'); mkdir "$name" .GIT; echo x | tee "$name/config" .GIT/config new
        printf '[submodule "x"]\\n path = x\\n url = https://example.org/x\\n update = !touch canary\\n' > .gitmodules
    """
    attempt = engine.run(script)
    assert attempt.outcome.failure is None
    assert "b/new" in engine.diff and "/config" not in engine.diff
    assert sorted(message_of(attempt, "Left out of the diff").splitlines()) == [".GIT", ".g\u200cit"]
    forbidden = message_of(attempt, "The diff contains files that git forbids").splitlines()[1:]
    assert forbidden == [".gitmodules (gitmodulesUpdate)"]


@needs_bubblewrap
@pytest.mark.parametrize("engine", ["bubblewrap"], indirect=True)
def test_changes_in_a_submodule_that_are_not_committed_are_named(engine: Engine) -> None:
    script = """
        git init -q own; cd own; echo x > x; git add x; git -c user.name=A -c user.email=a@b.c commit -qm x
        git update-ref refs/remotes/origin/main HEAD; echo y > y; cd ..; git add own
        printf '[submodule "own"]\\n path = own\\n url = https://example.org/own\\n' > .gitmodules
    """
    attempt = engine.run(script)
    assert attempt.outcome.failure is None and "+Subproject commit" in engine.diff
    expected = "own: uncommitted changes in the submodule"
    assert message_of(attempt, "Left out of the diff") == expected
    [line] = message_of(attempt, "The diff changes submodules").splitlines()[1:]
    assert line.startswith("own: added at ")


@pytest.mark.parametrize("engine", USUAL_SANDBOX, indirect=True)
def test_pointers_of_git_lfs_that_are_new_or_replaced_are_named(engine: Engine) -> None:
    script = """
        pointer() { printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 12\n' "$1"; }
        pointer 1 > one; pointer 2 > two; pointer 3 > three; printf '%0130d' 1 > other
    """
    first = engine.run(script)
    title = "The diff changes files of Git LFS"
    assert sorted(message_of(first, title).splitlines()[1:]) == ["one", "three", "two"]
    earlier = engine.sink.diffs["cumulative"]
    second = engine.run("echo all of it > one; rm two; echo x > other", start_diff=lambda: iter([earlier]))
    assert message_of(second, title).splitlines()[1:] == ["one: the file itself instead of its pointer"]
