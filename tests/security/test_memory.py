"""However much an agent writes, the memory of the worker stays as it is. Measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.workers.engine import ROOT, linux

pytestmark = linux
MEBIBYTE = 1024**2
GROWTH = 64 * MEBIBYTE

LINE = "head -c {size}M /dev/zero | tr '\\0' x; echo; echo after"
STREAM = """python3 -c 'import sys
chunk = ("y" * 1023 + chr(10)).encode() * 64
for _ in range(5120): sys.stdout.buffer.write(chunk)'"""
SHORT_LINES = "yes | head -c 4M"
# Larger files would be compared as bytes, which come out short.
DIFF = "for n in $(seq 10 34); do seq ${n}000000 ${n}800000 > $n; done; du -sb ."
ENDLESS = 'yes "$(printf %01000d 0)"'
TOO_MUCH = ["output_limit", "agent"]

ATTEMPT = """
    import json, pathlib, sys, tempfile
    from tests.workers.attempts import code, engine_in
    from workers.job import Limits

    class Counting:
        size = 0
        def write(self, kinds, chunks, **more):
            self.size += sum(len(chunk) for chunk in chunks)

    def memory(name):
        lines = pathlib.Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024

    prompt, agent, limits = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    with tempfile.TemporaryDirectory() as folder, engine_in(pathlib.Path(folder), "none") as engine:
        engine.run("echo warm > up", agent=agent)
        # The high-water mark starts anew from here (proc(5), clear_refs).
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        before = memory("VmRSS")
        sink = Counting()
        attempt = engine.run(prompt, agent=agent, sink=sink, limits=Limits(**limits))
        after = memory("VmHWM")
    print(json.dumps([code(attempt.outcome), sink.size, after - before]))
"""


@pytest.mark.parametrize(
    ("prompt", "agent", "limits", "expected", "stored"),
    [
        pytest.param(LINE.format(size=60), "shell", {}, None, 0, id="a line of 60 MB"),
        pytest.param(LINE.format(size=60), "scripted", {}, None, 0, id="a line of 60 MB, looked at for JSON"),
        pytest.param(LINE.format(size=100), "shell", {}, TOO_MUCH, 0, id="a line of 100 MB"),
        pytest.param("cat /dev/zero", "shell", {}, TOO_MUCH, 0, id="an endless line"),
        pytest.param(STREAM, "shell", {"max_output_bytes": 1024**3}, None, 0, id="a stream of 320 MB"),
        pytest.param(SHORT_LINES, "shell", {}, None, 0, id="two million lines"),
        pytest.param(ENDLESS, "shell", {}, TOO_MUCH, 0, id="endless output"),
        pytest.param(DIFF, "shell", {"max_diff_bytes": 1024**3}, None, 160 * MEBIBYTE, id="a diff of 160 MB"),
    ],
)
def test_the_memory_of_the_worker_stays_flat(
    tmp_path: Path, prompt: str, agent: str, limits: dict[str, int], expected: list[str] | None, stored: int
) -> None:
    command = [sys.executable, "-c", textwrap.dedent(ATTEMPT), prompt, agent, json.dumps(limits)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    code, size, growth = json.loads(ran.stdout)
    assert (code, size >= stored) == (expected, True)
    print(f"{growth / MEBIBYTE:.1f} MiB more")
    assert growth < GROWTH
