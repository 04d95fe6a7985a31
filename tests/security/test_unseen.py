"""What an agent keeps out of sight counts as well: folders that it closed, and memory that no process shows."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.security.ordinary_user import needs_root, run_again
from tests.workers.attempts import Engine, code, engine_in
from tests.workers.engine import SANDBOXES, linux
from workers.job import Limits

pytestmark = linux
MEBIBYTE = 1024**2
WORK = "echo work > work\n"


@pytest.fixture(params=SANDBOXES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path, request.param) as made:
        yield made


@pytest.mark.parametrize(
    "hide",
    [
        "mkdir d; chmod 300 d; cd d",
        "mkdir -p d/e; chmod 300 d/e d; cd d/e",
        "chmod 300 .",
        "mkdir ~/d; chmod 300 ~/d; cd ~/d",
    ],
    ids=["one", "one in another", "the checkout", "the home"],
)
def test_the_contents_of_a_folder_that_cannot_be_listed_count(engine: Engine, hide: str) -> None:
    script = f"{WORK}{hide}; for n in 1 2 3 4 5 6 7 8; do fallocate -l 6M $n; done; sleep 300"
    attempt = engine.run(script, limits=Limits(max_disk_bytes=20 * MEBIBYTE))
    assert code(attempt.outcome) == ("disk_limit", "agent")
    assert "+work" in engine.diff


def test_a_folder_that_was_closed_stays_closed(engine: Engine) -> None:
    """Tests of programs that people write need that. Some seconds are some walks through all files."""
    script = "mkdir d; touch d/f; chmod 0 d; for n in 1 2 3 4 5 6; do sleep 0.5; stat -c %a d; done | sort -u"
    assert engine.run(script).outcome.result == "0"


def test_memory_in_files_without_a_name_counts(engine: Engine) -> None:
    program = """
        import os, time
        held = [os.memfd_create("held") for _ in range(4)]
        for file in held:
            for _ in range(50):
                os.write(file, bytes(2**20))
        time.sleep(300)
    """
    script = f"{WORK}exec python3 - <<'END'\n{textwrap.dedent(program)}\nEND\n"
    attempt = engine.run(script, limits=Limits(max_memory_bytes=100 * MEBIBYTE))
    assert code(attempt.outcome) == ("memory_limit", "agent")
    assert "+work" in engine.diff


@needs_root
def test_it_is_the_same_for_an_ordinary_user() -> None:
    run_again(__file__)
