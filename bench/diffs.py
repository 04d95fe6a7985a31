"""P5: reading a large diff, beside the same page of a small one and `cat`, and finding its files, beside git."""

from __future__ import annotations

import http.client
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from app.services.artifacts.diff_index import Builder
from bench.deployments import deployment, small_repository
from bench.figures import Figure, Samples, Size, at_most
from tests.deployment import Deployment

FILES, SMALL_FILES = 20_000, 200
"""15 kB each."""
PER_PAGE = 20
CHUNK = 2**18
MEBIBYTE = 2**20


def measure(size: Size) -> Iterator[Figure]:
    """A diff of 300 MB and 20,000 files: pages, whole, memory, and the index of its files."""
    with deployment(MAX_DIFF_BYTES=str(400 * MEBIBYTE)) as deployed:
        files = size.pick(SMALL_FILES, FILES, FILES)
        patch, small = write_patch(deployed, files), write_patch(deployed, SMALL_FILES)
        site = deployed.make_site(small_repository(deployed), execution="external")
        reader = Reader(deployed, add_diff(deployed, site, patch), add_diff(deployed, site, small))
        before = web_memory(deployed)
        rounds = size.pick(1, 50, 300)
        pages = {"first": 1, "middle": files // PER_PAGE // 2, "last": files // PER_PAGE}
        for name, page in pages.items():
            yield reader.page(f"the {name} page of {PER_PAGE} files", "", page, rounds)
            yield reader.page(f"the {name} page of the list of files", "/files", page, rounds)
        yield reader.whole(patch, size.pick(1, 10, 30))
        after = web_memory(deployed)
        yield Figure(
            "memory (RSS) of the web processes afterwards",
            "MiB",
            [after],
            Samples("before", [before]),
            [at_most(1.1, times_anchor=True)],
        )
        yield index(patch, size.pick(1, 3, 10))


def write_patch(deployed: Deployment, files: int) -> Path:
    path = deployed.folder / f"{files}.patch"
    lines = b"".join(b"+" + b"x" * 99 + b"\n" for _ in range(150))
    with open(path, "wb") as file:
        for number in range(files):
            name = b"folder%d/file%d.txt" % (number % 100, number)
            file.write(b"diff --git a/%b b/%b\nnew file mode 100644\nindex 0000000..1111111\n" % (name, name))
            file.write(b"--- /dev/null\n+++ b/%b\n@@ -0,0 +1,150 @@\n" % name + lines)
    return path


def add_diff(deployed: Deployment, site: dict[str, Any], patch: Path) -> str:
    """The path of a runner whose diff is this one, stored by the API for an external worker."""
    runner = deployed.run(site, "none")
    session = f"/agent_runners/{runner['id']}/sessions/{runner['latest_session_id']}"
    token = deployed.call("PATCH", session, json={"state": "RUNNING"})["session_token"]
    as_worker = {"Authorization": f"Bearer {token}"}
    target = deployed.call("POST", f"{session}/diff/upload_urls", headers=as_worker)["result"]
    headers = {**target["headers"], "Content-Length": str(patch.stat().st_size)}
    with open(patch, "rb") as file:
        httpx.put(target["upload_url"], content=file, headers=headers, timeout=None).raise_for_status()
    done = {"state": "DONE", "result_diff_s3_key": target["s3_key"]}
    deployed.call("PATCH", session, json=done, headers=as_worker, timeout=None)
    return f"/api/v1/agent_runners/{runner['id']}/diff"


class Reader:
    """Reads over one connection, and costs little itself, since it runs on the same machine."""

    def __init__(self, deployed: Deployment, path: str, small_path: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(deployed.url).netloc, timeout=60)
        self._headers = {"Authorization": deployed.api.headers["Authorization"]}
        self._path, self._small_path = path, small_path
        self._buffer = memoryview(bytearray(MEBIBYTE))

    def page(self, name: str, rest: str, page: int, rounds: int) -> Figure:
        taken, small = [], []
        for _ in range(rounds):
            taken.append(self._read(f"{self._path}{rest}?page={page}&per_page={PER_PAGE}")[0])
            small.append(self._read(f"{self._small_path}{rest}?page=1&per_page={PER_PAGE}")[0])
        return Figure(name, "ms", taken, Samples(f"of a diff of {SMALL_FILES} files", small), [at_most(10)])

    def whole(self, patch: Path, rounds: int) -> Figure:
        taken, cat = [], []
        for _ in range(rounds):
            begun = time.perf_counter()
            subprocess.run(["cat", str(patch)], stdout=subprocess.DEVNULL, check=True)
            cat.append((time.perf_counter() - begun) * 1000)
            milliseconds, read = self._read(self._path)
            assert read == patch.stat().st_size
            taken.append(milliseconds)
        return Figure("the whole diff", "ms", taken, Samples("cat", cat), [at_most(8, times_anchor=True)])

    def _read(self, path: str) -> tuple[float, int]:
        """Milliseconds until all is read, and how many bytes."""
        begun = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        assert answer.status == 200, f"{path}: {answer.status}"
        read = 0
        while count := answer.readinto(self._buffer):
            read += count
        return (time.perf_counter() - begun) * 1000, read


def web_memory(deployed: Deployment) -> float:
    processes = psutil.Process(deployed.processes["web"].pid).children()
    return sum(process.memory_info().rss for process in processes) / MEBIBYTE


def index(patch: Path, rounds: int) -> Figure:
    taken, git = [], []
    for _ in range(rounds):
        begun = time.process_time()
        with open(patch, "rb") as file:
            builder = Builder()
            for _ in builder.watch(iter(lambda: file.read(CHUNK), b"")):
                pass
            builder.finish()
        taken.append((time.process_time() - begun) * 1000)
        begun = children_seconds()
        subprocess.run(["git", "apply", "--numstat", str(patch)], stdout=subprocess.DEVNULL, check=True)
        git.append((children_seconds() - begun) * 1000)
    return Figure("CPU time of the index", "ms", taken, Samples("git apply --numstat", git))


def children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
