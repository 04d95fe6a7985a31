"""The throw-away directories of publications."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.workers.repositories import git
from workers.job import Host
from workers.processes.lifeline import Lifeline
from workers.publishing.commits import temporary_repository

HOLDING = """
import sys, time
from pathlib import Path
from workers.publishing.commits import temporary_repository
from workers.job import Host
from workers.processes.lifeline import Lifeline
with temporary_repository(Host(Path(sys.argv[1])), Path(sys.argv[1], "mirror"), (), Lifeline(60)) as commits:
    print(commits.git.directory, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_worker_left_goes_with_the_next_publication_and_what_is_in_use_stays(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "mirror")
    with (
        subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE, text=True) as dying,
        subprocess.Popen([sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE, text=True) as living,
    ):
        try:
            left, used = (Path(each.stdout.readline().strip()) for each in (dying, living) if each.stdout)
            dying.send_signal(signal.SIGKILL)
            dying.wait()
            an_hour_ago = time.time() - 3600
            for directory in (left, used):
                os.utime(directory, (an_hour_ago, an_hour_ago))
            with temporary_repository(Host(tmp_path), tmp_path / "mirror", (), Lifeline(60)) as commits:
                assert commits.git.directory.exists()
                assert not left.exists() and used.exists()
        finally:
            living.kill()
