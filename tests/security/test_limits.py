"""What uses too much ends with the code of the limit, its work kept: bombs, hogs and floods of real size."""

from __future__ import annotations

import subprocess
import textwrap
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.processes import each_process
from tests.workers.attempts import Engine, code, engine_in
from tests.workers.engine import SANDBOXES, USUAL_SANDBOX, eventually, linux
from workers.events import Step
from workers.job import Limits

pytestmark = linux
MEBIBYTE = 1024**2
WORK = "echo work > work\n"


@pytest.fixture(params=SANDBOXES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with engine_in(tmp_path, request.param) as made:
        yield made


def python(program: str) -> str:
    """A shell script that runs a Python program."""
    return f"exec python3 - <<'END'\n{textwrap.dedent(program)}\nEND\n"


FORK_BOMB = "bomb() { bomb | bomb & }; bomb; sleep 300"
TEMPERATE_BOMB = """
    import os, time
    while True:
        try:
            if os.fork() == 0:
                time.sleep(300)
        except OSError:
            time.sleep(1)
"""
MEMORY_HOG = """
    hoard = []
    while True:
        hoard.append(b"x" * 2**20)
"""
SHARED_HOG = """
    import os, time
    hoard = b"x" * (40 * 2**20)
    for _ in range(5):
        if os.fork() == 0:
            time.sleep(300)
    own = [b"y" * 2**20 for _ in range(60)]
    print("all of it is shared", flush=True)
"""


@pytest.mark.parametrize("bomb", [FORK_BOMB, python(TEMPERATE_BOMB)], ids=["pipes", "loop"])
def test_a_fork_bomb_ends_with_process_limit(engine: Engine, bomb: str) -> None:
    mark = str(uuid.uuid4())
    attempt = engine.run(WORK + bomb, limits=Limits(max_processes=200), environment={"MARK": mark})
    assert code(attempt.outcome) == ("process_limit", "agent")
    assert "+work" in engine.diff
    eventually(lambda: not any(mark.encode() in held for _, held in each_process("environ")), "the bomb goes on")


def test_a_memory_hog_ends_with_memory_limit(engine: Engine) -> None:
    attempt = engine.run(WORK + python(MEMORY_HOG), limits=Limits(max_memory_bytes=300 * MEBIBYTE))
    assert code(attempt.outcome) == ("memory_limit", "agent")
    assert "+work" in engine.diff


def test_memory_that_processes_share_counts_once(engine: Engine) -> None:
    attempt = engine.run(python(SHARED_HOG), limits=Limits(max_memory_bytes=250 * MEBIBYTE))
    assert attempt.outcome.failure is None


@pytest.mark.parametrize(
    "writes",
    [
        "truncate -s 10G big",
        "fallocate -l 10G big",
        "cat /dev/zero > big",
        python("open('big', 'wb').truncate(10 * 10**9)"),
        python("file = open('big', 'wb')\nwhile True: file.write(bytes(2**20))"),
    ],
    ids=["sparse", "allocated", "written", "sparse-python", "written-python"],
)
def test_a_file_that_is_too_large_ends_with_disk_limit(engine: Engine, writes: str) -> None:
    attempt = engine.run(WORK + writes, limits=Limits(max_file_bytes=400 * MEBIBYTE))
    if "truncate(" in writes:
        # Python ignores the kernel's signal and meets an error instead; the file stays empty, so nothing tells of it.
        assert code(attempt.outcome) == ("agent_failed", "agent")
        assert "File too large" in str(attempt.outcome.failure)
    else:
        assert code(attempt.outcome) == ("disk_limit", "agent")
    assert "+work" in engine.diff


def test_many_large_files_end_with_disk_limit(engine: Engine) -> None:
    script = WORK + "for n in 1 2 3 4 5 6 7 8; do fallocate -l 20M $n; done; sleep 300"
    attempt = engine.run(script, limits=Limits(max_disk_bytes=100 * MEBIBYTE))
    assert code(attempt.outcome) == ("disk_limit", "agent")
    assert "+work" in engine.diff


def test_a_large_sparse_file_is_no_large_file_on_the_disk(engine: Engine) -> None:
    attempt = engine.run("truncate -s 1G $HOME/sparse; sleep 2", limits=Limits(max_disk_bytes=100 * MEBIBYTE))
    assert attempt.outcome.failure is None


def test_a_file_that_git_would_read_whole_ends_with_diff_too_large_and_the_rest_is_kept(engine: Engine) -> None:
    # To store it takes seconds for each gigabyte, so git may have less memory here than it has by itself.
    engine.host = replace(engine.host, max_git_memory_bytes=64 * MEBIBYTE)
    attempt = engine.run(WORK + "truncate -s 100M hole", limits=Limits(max_diff_bytes=4 * MEBIBYTE))
    assert code(attempt.outcome) == ("diff_too_large", "diff")
    assert "memory" in str(attempt.outcome.failure)
    assert "+work" in engine.diff and "hole" not in engine.diff


# Git compares what it has staged, in whatever sandbox that was written.
@pytest.mark.parametrize("engine", USUAL_SANDBOX, indirect=True)
def test_a_text_that_git_would_need_much_memory_for_is_taken_for_binary(engine: Engine) -> None:
    # 41 bytes for each of its lines, as text; and names that mean something else in a pattern.
    many = "head -c 60000000 /dev/zero | tr '\\0' '\\n'"
    attempt = engine.run(
        f"{many} > 'l[i]*n?s\"\\\\ ü'; mkdir '!a'; {many} | tee '!a/#b' > /dev/null; echo few > linens"
    )
    assert attempt.outcome.failure is None
    assert engine.diff.count("GIT binary patch") == 2 and "+few" in engine.diff


MANY_FILES = """
    import os
    os.mkdir("many")
    for number in range({count}):
        os.close(os.open(f"many/{{number}}", os.O_CREAT | os.O_WRONLY))
    import time
    time.sleep(300)
"""


def test_many_files_end_with_file_limit(engine: Engine) -> None:
    script = WORK + "echo more >> README\n" + python(MANY_FILES.format(count=5_000))
    attempt = engine.run(script, limits=Limits(max_disk_files=1_000, max_diff_files=250))
    assert code(attempt.outcome) == ("file_limit", "agent")
    assert "+work" in engine.diff and "+more" in engine.diff
    assert "many/" not in engine.diff
    assert Step("Left out of the diff", "many/") in attempt.events


@pytest.mark.parametrize(
    ("limits", "expected"),
    [(Limits(max_diff_files=20), "too_many_files"), (Limits(max_diff_bytes=50_000), "diff_too_large")],
)
def test_what_fits_is_kept_of_a_diff_that_is_too_large(engine: Engine, limits: Limits, expected: str) -> None:
    script = WORK + "rm README; mkdir -p new/deep; for n in $(seq 40); do seq 500 > new/deep/$n; done"
    attempt = engine.run(script, limits=limits)
    assert code(attempt.outcome) == (expected, "diff")
    assert "+work" in engine.diff and "-hello" in engine.diff and "new/deep" not in engine.diff
    assert Step("Left out of the diff", "new/") in attempt.events


def test_a_tracked_file_that_grew_too_large_stays_as_it_was(engine: Engine) -> None:
    script = WORK + "truncate -s 1G README; false"
    attempt = engine.run(script, limits=Limits(max_diff_bytes=MEBIBYTE))
    assert code(attempt.outcome) == ("agent_failed", "agent")
    assert "+work" in engine.diff and "README" not in engine.diff
    assert Step("Left out of the diff", "README") in attempt.events


BELOW_WHAT_A_PATH_CAN_NAME = """
    import os, time
    for _ in range(20):
        os.mkdir("x" * 250)
        os.chdir("x" * 250)
    for number in range({count}):
        with open(str(number), "wb") as file:
            os.posix_fallocate(file.fileno(), 0, {size})
    time.sleep(300)
"""
WITHOUT_A_NAME = """
    import os, time
    hoard = []
    for number in range({count}):
        hoard.append(open(str(number), "wb"))
        os.unlink(str(number))
        os.posix_fallocate(hoard[-1].fileno(), 0, {size})
    time.sleep(300)
"""
MUCH = {"count": 8, "size": 25 * MEBIBYTE}


@pytest.mark.parametrize("where", ["", "cd $HOME\n"], ids=["checkout", "home"])
@pytest.mark.parametrize("program", [BELOW_WHAT_A_PATH_CAN_NAME, WITHOUT_A_NAME], ids=["deep", "nameless"])
def test_unlinked_files_take_up_room_as_well(engine: Engine, program: str, where: str) -> None:
    limits = Limits(max_disk_bytes=100 * MEBIBYTE, max_duration_seconds=60)
    attempt = engine.run(WORK + where + python(program.format(**MUCH)), limits=limits)
    assert code(attempt.outcome) == ("disk_limit", "agent")
    assert "+work" in engine.diff


@pytest.mark.parametrize("program", [BELOW_WHAT_A_PATH_CAN_NAME, WITHOUT_A_NAME], ids=["deep", "nameless"])
def test_unlinked_files_count_among_the_files(engine: Engine, program: str) -> None:
    limits = Limits(max_disk_files=800, max_duration_seconds=60)
    attempt = engine.run(WORK + python(program.format(count=1000, size=1)), limits=limits)
    assert code(attempt.outcome) == ("file_limit", "agent")
    assert "+work" in engine.diff


def test_an_open_file_without_a_name_counts_once_whoever_holds_it(engine: Engine) -> None:
    held = WITHOUT_A_NAME.format(count=1, size=60 * MEBIBYTE).replace("time.sleep(300)", "os.fork(); time.sleep(3)")
    attempt = engine.run(python(held), limits=Limits(max_disk_bytes=100 * MEBIBYTE))
    assert attempt.outcome.failure is None


def test_directories_of_any_depth_do_no_harm(engine: Engine, tmp_path: Path) -> None:
    deep = "import os\nfor _ in range(2500):\n    os.mkdir('d')\n    os.chdir('d')\n"
    attempt = engine.run(WORK + python(deep))
    assert attempt.outcome.failure is None
    assert "+work" in engine.diff
    # The checkout is kept for the next session. It is too deep for pytest, which would fail at the end of a later run.
    subprocess.run(["rm", "-rf", "--", *tmp_path.iterdir()], check=True)


def test_ignore_rules_and_attributes_of_any_size_are_not_read(engine: Engine) -> None:
    """Git reads each whole and keeps those of all folders around a file; sparse ones take up no room on the disk."""
    script = (
        WORK + "for n in 1 2 3; do truncate -s 100M .gitignore .gitattributes; mkdir in; cd in; echo in > file; done"
    )
    attempt = engine.run(script)
    assert attempt.outcome.failure is None, attempt.text
    assert "+work" in engine.diff and engine.diff.count("+in\n") == 3
    left_out = next(step for step in attempt.events if isinstance(step, Step) and step.title == "Left out of the diff")
    places = ("", "in/", "in/in/")
    names = (".gitignore", ".gitattributes")
    assert sorted(left_out.message.splitlines()) == sorted(place + name for place in places for name in names)


def test_signals_are_as_programs_expect_them(engine: Engine) -> None:
    """The kernel's for a file that is too large, and for a pipe that nobody reads: without it `yes | head` goes on."""
    attempt = engine.run("grep SigIgn /proc/self/status")
    ignored = int(str(attempt.outcome.result).split()[1], 16)
    assert ignored & 0x7FFF_FFFF == 0


def test_open_files_are_limited(engine: Engine) -> None:
    attempt = engine.run(
        WORK + python("hoard = [open('/dev/null') for _ in range(2000)]"), limits=Limits(max_open_files=1000)
    )
    assert code(attempt.outcome) == ("agent_failed", "agent")
    assert "Too many open files" in str(attempt.outcome.failure)
    assert "+work" in engine.diff


def test_a_processor_hog_ends_at_its_time(engine: Engine) -> None:
    script = WORK + "echo begun; (while :; do :; done) & (while :; do :; done) & while :; do :; done"
    attempt = engine.run_into("max_duration_seconds", script, "begun")
    assert code(attempt.outcome) == ("time_limit", "agent")
    assert "+work" in engine.diff
