"""However much an agent writes, the memory of the worker stays as it is. Measured in a process of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.program import fresh_processes
from tests.workers.attempts import code, engine_in
from tests.workers.engine import MemorySink, linux
from workers.job import DiffKind, Limits

pytestmark = linux
MEBIBYTE = 1024**2
# It has 5 MiB more at most, and what is written below is three times the limit or more.
GROWTH = 16 * MEBIBYTE

LINE = "head -c {size}M /dev/zero | tr '\\0' x; echo; echo after"
STREAM = """python3 -c 'import sys
chunk = ("y" * 1023 + chr(10)).encode() * 64
for _ in range(800): sys.stdout.buffer.write(chunk)'"""
SHORT_LINES = "yes | head -c 1M"
# Larger files would be compared as bytes, which come out short.
DIFF = "for n in $(seq 10 18); do seq ${n}000000 ${n}800000 > $n; done; du -sb ."
ENDLESS = 'yes "$(printf %01000d 0)"'
TOO_MUCH = ("output_limit", "agent")


class Counting(MemorySink):
    """Keeps nothing of a diff but its size."""

    size = 0

    def write(self, kinds: Sequence[DiffKind], chunks: Iterable[bytes], *, contains_secret: bool) -> None:
        self.size += sum(len(chunk) for chunk in chunks)


def memory(name: str) -> int:
    """What the kernel says of this process's memory under that name, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def measure(prompt: str, agent: str, limits: dict[str, int], found: Connection) -> None:
    """Send how an attempt ended, the size of its diff, and how many bytes of memory it took."""
    with tempfile.TemporaryDirectory() as folder, engine_in(Path(folder), "none") as engine:
        engine.run("echo warm > up", agent=agent)
        # The high-water mark starts anew from here (proc(5), clear_refs).
        Path("/proc/self/clear_refs").write_text("5")
        before, sink = memory("VmRSS"), Counting()
        attempt = engine.run(prompt, agent=agent, sink=sink, limits=Limits(**limits))
        found.send((code(attempt.outcome), sink.size, memory("VmHWM") - before))


@pytest.mark.parametrize(
    ("prompt", "agent", "limits", "expected", "stored"),
    [
        pytest.param(LINE.format(size=60), "shell", {}, None, 0, id="a line of 60 MB"),
        pytest.param(LINE.format(size=60), "scripted", {}, None, 0, id="a line of 60 MB, looked at for JSON"),
        pytest.param(LINE.format(size=100), "shell", {}, TOO_MUCH, 0, id="a line of 100 MB"),
        pytest.param("cat /dev/zero", "shell", {}, TOO_MUCH, 0, id="an endless line"),
        pytest.param(STREAM, "shell", {}, None, 0, id="a stream of 50 MB"),
        pytest.param(SHORT_LINES, "shell", {}, None, 0, id="half a million lines"),
        pytest.param(ENDLESS, "shell", {"max_output_bytes": 50 * MEBIBYTE}, TOO_MUCH, 0, id="endless output"),
        pytest.param(DIFF, "shell", {}, None, 50 * MEBIBYTE, id="a diff of 50 MB"),
    ],
)
def test_the_memory_of_the_worker_stays_flat(
    prompt: str, agent: str, limits: dict[str, int], expected: tuple[str, str] | None, stored: int
) -> None:
    receiving, sending = fresh_processes.Pipe(duplex=False)
    process = fresh_processes.Process(target=measure, args=(prompt, agent, limits, sending))
    process.start()
    sending.close()
    with receiving:
        code, size, growth = receiving.recv()
    process.join()
    assert (code, size >= stored) == (expected, True)
    print(f"{growth / MEBIBYTE:.1f} MiB more")
    assert growth < GROWTH
