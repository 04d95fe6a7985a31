"""Output as it comes, in bounded memory, within limits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from io import FileIO
from pathlib import Path

import pytest

from tests.workers.engine import ROOT, Stubborn, finish, linux, shell, sigterm_once, sigterm_raises
from workers.errors import EngineError
from workers.job import Limits
from workers.limits.budget import Budget
from workers.limits.command import Process, running
from workers.processes.lifeline import Lifeline
from workers.processes.lines import Line

MEGABYTE = 1024 * 1024


def test_lines_come_while_the_command_goes_on(tmp_path: Path) -> None:
    """The command waits for an answer to its first line, which can only be given if that line is seen."""
    answers = tmp_path / "answers"
    os.mkfifo(answers)
    launch = shell(f'echo question; read answer < "{answers}"; echo "got $answer"')
    with running(launch, lifeline=Lifeline(600), budget=Budget(Limits()), stage="agent") as process:
        lines = (line.text for line in process.lines() if line)
        assert next(lines) == "question"
        answers.write_text("yes\n")
        assert next(lines) == "got yes"


def test_streams_are_separate_or_merged_in_order() -> None:
    script = "echo one; echo two >&2; echo three"
    apart = finish(shell(script))
    assert (apart.out, apart.err) == ("one\nthree", "two")
    assert finish(shell(script), merged=True).out == "one\ntwo\nthree"


def test_the_last_line_needs_no_newline_and_bytes_need_not_be_text() -> None:
    lines = finish(shell(r"printf 'a\nb'; printf '\377' ")).lines
    assert lines == [Line(b"a"), Line(b"b\xff")]
    assert lines[1].text == "b\ufffd"


@pytest.mark.parametrize("closes", [True, False])
def test_what_a_command_writes_just_before_it_ends_is_read(closes: bool) -> None:
    """It may do both after there was nothing to read and before it is asked whether it still runs. Its supervisor may close
    the pipe a little later."""

    class EndsWhenAsked:
        def __init__(self) -> None:
            reading, writing = os.pipe()
            self.stdout, self.stderr = FileIO(reading), None
            self.writing = FileIO(writing, "w")
            self.has_ended = False

        def poll(self) -> int:
            if not self.has_ended:
                self.writing.write(b"the last line")
                if closes:
                    self.writing.close()
                self.has_ended = True
            return 0

        def wait(self) -> int:
            return 0

    command = EndsWhenAsked()
    process = Process(command, Lifeline(600), Budget(Limits()), None, "agent")  # type: ignore[arg-type]
    with command.stdout, command.writing:
        assert [line.text for line in process.lines() if line] == ["the last line"]


def test_a_megabyte_of_input_is_read_whole_however_late() -> None:
    prompt = os.urandom(MEGABYTE).replace(b"\n", b" ")
    ran = finish(shell("head -c 1000000 /dev/zero | tr '\\0' 'x'; echo; sleep 0.2; cat | wc -c"), stdin=prompt)
    assert ran.lines[-1].data.strip() == str(MEGABYTE).encode()


def test_input_that_is_never_read_does_no_harm() -> None:
    assert finish(shell("exit 0"), stdin=b"x" * MEGABYTE).status == 0


def test_without_input_there_is_nothing_to_read() -> None:
    assert finish(shell("read line || echo nothing")).out == "nothing"


def test_a_line_of_20_megabytes_is_cut_in_flat_memory() -> None:
    """In a process of its own, because what is measured is the most that a process ever used."""
    code = """
import resource
from tests.workers.engine import finish, shell
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
cut, after = finish(shell("head -c 20971520 /dev/zero | tr '\\\\0' x; echo; echo after")).lines
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, len(cut.data), cut.lost, after.text, cut.text[-60:])
"""
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    grown, kept, lost, after, note = said.split(maxsplit=4)
    assert (int(kept), int(lost), after) == (MEGABYTE, 19 * MEGABYTE, "after")
    assert note.strip().endswith("[... 19,922,944 more bytes of this line were left out]")
    assert int(grown) < 10 * (1024 if sys.platform == "linux" else MEGABYTE)


@pytest.mark.parametrize("stream", ["", ">&2"])
def test_a_line_that_goes_on_beyond_all_reason_ends_a_command(stream: str) -> None:
    limits = Limits(max_line_bytes=10_000)
    long = finish(shell(f"echo short {stream}; printf '%0600000d' 0 {stream}"), limits=limits)
    assert [(len(line.data), line.lost) for line in long.lines] == [(5, 0), (10_000, 590_000)]
    with pytest.raises(EngineError, match="line of output was longer than the limit of 640,000 bytes") as failure:
        finish(shell(f"cat /dev/zero {stream}"), limits=limits)
    assert (failure.value.code, failure.value.stage) == ("output_limit", "agent")


@pytest.mark.parametrize(
    ("script", "limits", "code"),
    [
        ("yes", Limits(max_output_bytes=MEGABYTE), "output_limit"),
        ("yes >&2", Limits(max_output_bytes=MEGABYTE), "output_limit"),
        ("while :; do echo still; sleep 0.1; done", Limits(max_duration_seconds=0.7), "time_limit"),
        ("sleep 300", Limits(max_duration_seconds=0.7), "time_limit"),
        ("echo once; sleep 300", Limits(stall_seconds=0.7), "stalled"),
        ("exec >&- 2>&-; sleep 300", Limits(stall_seconds=0.7), "stalled"),
    ],
)
def test_limits_end_a_command(script: str, limits: Limits, code: str) -> None:
    tree = Stubborn()
    with pytest.raises(EngineError) as failure:
        finish(shell(tree.script + script), limits=limits)
    assert (failure.value.code, failure.value.stage) == (code, "agent")
    assert tree.alive() == 0


def test_a_command_that_talks_now_and_then_is_not_stalled() -> None:
    ran = finish(shell("for n in 1 2 3 4 5 6 7 8; do echo $n; sleep 1; done"), limits=Limits(stall_seconds=6.5))
    assert ran.out.split() == [*"12345678"]


def test_time_and_output_are_shared_by_the_commands_of_an_attempt() -> None:
    budget = Budget(Limits(max_output_bytes=150_000))
    script = shell("head -c 100000 /dev/zero")
    with running(script, lifeline=Lifeline(600), budget=budget, stage="setup") as process:
        list(process.lines())
    with (
        pytest.raises(EngineError) as failure,
        running(script, lifeline=Lifeline(600), budget=budget, stage="agent") as process,
    ):
        list(process.lines())
    assert (failure.value.code, failure.value.stage) == ("output_limit", "agent")


def test_the_end_of_the_time_is_announced_once() -> None:
    budget = Budget(Limits(max_duration_seconds=3600))
    assert list(budget.warnings()) == []
    budget.limits = Limits(max_duration_seconds=1)
    time.sleep(0.95)
    (warning,) = budget.warnings()
    assert "of 1 seconds are left" in warning.message
    assert list(budget.warnings()) == []


def test_each_long_silence_is_announced_once() -> None:
    budget = Budget(Limits())
    for _ in range(2):
        budget.limits = Limits(stall_seconds=3600)
        budget.note_output()
        assert list(budget.warnings()) == []
        budget.limits = Limits(stall_seconds=0.4)
        time.sleep(0.35)
        (warning,) = budget.warnings()
        assert "No output for" in warning.title and "At 0.4 seconds" in warning.message
        assert list(budget.warnings()) == []


def test_a_silent_command_lets_the_caller_look_around() -> None:
    with running(shell("sleep 300"), lifeline=Lifeline(600), budget=Budget(Limits()), stage="agent") as process:
        assert next(process.lines()) is None


# A descriptor that the signal cost is closed without having been asked to.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@linux
def test_sigterm_at_any_moment_leaves_nothing_behind() -> None:
    """The signal comes after a while that grows from test to test, so that it hits the start as well."""
    descriptors = len(os.listdir("/proc/self/fd"))
    tree = Stubborn()
    for microseconds in range(0, 40_000, 2_000):
        with pytest.raises(SystemExit), sigterm_raises():
            timer = threading.Timer(microseconds / 1e6, os.kill, (os.getpid(), signal.SIGTERM))
            timer.start()
            finish(shell(tree.script + "sleep 300"))
        timer.join()
    tree.falls()
    # A signal between the making of a descriptor and the taking hold of it may cost one, and that is all.
    assert len(os.listdir("/proc/self/fd")) < descriptors + 6


@linux
def test_sigterm_while_the_output_is_read() -> None:
    tree = Stubborn()
    with pytest.raises(SystemExit), sigterm_raises():
        waiter = sigterm_once(lambda: tree.alive() >= 5)
        finish(shell(tree.script + "sleep 300"))
    waiter.join()
    assert tree.alive() == 0


def test_the_callers_own_generator_may_be_dropped() -> None:
    """A caller that stops listening closes the generator, which must end the command."""

    def listen() -> object:
        with running(shell("yes"), lifeline=Lifeline(600), budget=Budget(Limits()), stage="agent") as process:
            yield from process.lines()

    lines = listen()
    assert next(lines) == Line(b"y")  # type: ignore[call-overload]
    started = time.monotonic()
    lines.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 50
