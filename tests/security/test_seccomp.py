"""The system call filter: what it refuses inside, and that what people work with does not notice it."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path

import pytest

from tests.workers.engine import Ran, finish, linux, needs_bubblewrap, sandbox_in
from workers.sandbox import seccomp

pytestmark = [
    linux,
    needs_bubblewrap,
    pytest.mark.skipif(
        seccomp.program() is None, reason="NOT TESTED: no libseccomp; install it with `apt-get install libseccomp2`"
    ),
]

# The package of each program that has another name than the program.
PACKAGES = {"go": "golang-go", "node": "nodejs"}
# The numbers are those of <asm-generic/unistd.h> and, where they differ, of x86-64.
PROBE = """
    import ctypes, errno, platform, sys
    libc = ctypes.CDLL(None, use_errno=True)
    arm = platform.machine() == "aarch64"
    calls = {
        "add_key": (217 if arm else 248, 0, 0, 0, 0, 0),
        "keyctl": (219 if arm else 250, 0, -3, 0),
        "bpf": (280 if arm else 321, 0, 0, 0),
        "perf_event_open": (241 if arm else 298, 0, 0, 0, 0, 0),
        "userfaultfd": (282 if arm else 323, 1),
        "mount": (40 if arm else 165, 0, 0, 0, 0, 0),
        "pivot_root": (41 if arm else 155, 0, 0),
        "unshare": (97 if arm else 272, 0),
        "setns": (268 if arm else 308, -1, 0),
        "open_by_handle_at": (265 if arm else 304, -1, 0, 0),
        "init_module": (105 if arm else 175, 0, 0, 0),
        "clone NEWUSER": (220 if arm else 56, 0x10000000 | 17, 0, 0, 0, 0),
        "io_uring_setup": (425, 1, 0),
        "clone3": (435, 0, 0),
        "fsopen": (430, 0, 0),
        "open_tree": (428, -1, 0, 0),
        "ioctl TIOCSTI": (29 if arm else 16, -1, 0x5412, 0),
        "ioctl TIOCSTI, long": (29 if arm else 16, -1, 0x100005412, 0),
        "socket PACKET": (198 if arm else 41, 17, 3, 0),
        "socket VSOCK": (198 if arm else 41, 40, 1, 0),
        "socket ALG": (198 if arm else 41, 38, 5, 0),
        "socket ALG, long": (198 if arm else 41, 38 | 1 << 32, 5, 0),
        "socket NETLINK NETFILTER": (198 if arm else 41, 16, 3, 12),
        "socket NETLINK ROUTE": (198 if arm else 41, 16, 3, 0),
        "socketpair PACKET": (199 if arm else 53, 17, 3, 0, 0),
        "socketpair VSOCK": (199 if arm else 53, 40, 1, 0, 0),
        "shmget of much": (194 if arm else 29, 1234567, 65537, 0o600),
        "shmget of little": (194 if arm else 29, 1234567, 65536, 0o600),
        "msgget": (186 if arm else 68, 1234567, 0o600),
        "semget": (190 if arm else 64, 1234567, 1, 0o600),
        "mq_open": (180 if arm else 240, 0, 0, 0, 0),
        "socket UNIX": (198 if arm else 41, 1, 1, 0),
        "socket INET": (198 if arm else 41, 2, 1, 0),
        "socket INET6": (198 if arm else 41, 10, 1, 0),
    }
    for name, (number, *arguments) in calls.items():
        ctypes.set_errno(0)
        answer = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(each) for each in arguments))
        if answer == 0 and name.startswith("clone"):
            libc._exit(0)
        print(name, errno.errorcode.get(ctypes.get_errno(), "OK"), sep="=")
"""


def run_in(folder: Path, script: str) -> Ran:
    return finish(sandbox_in(folder, "bubblewrap").launch(["sh", "-e", "-c", textwrap.dedent(script)], {}))


def test_what_reaches_deep_into_the_kernel_is_refused(tmp_path: Path) -> None:
    ran = run_in(tmp_path, f"python3 - <<'END'\n{textwrap.dedent(PROBE)}\nEND")
    answers = dict(line.split("=") for line in ran.out.splitlines())
    absent = {"io_uring_setup", "clone3", "fsopen", "open_tree"}
    memory = {"shmget of much": {"EINVAL"}, "shmget of little": {"ENOENT"}}
    for name, answer in answers.items():
        if name in ("socket NETLINK ROUTE", "socket UNIX", "socket INET", "socket INET6"):
            expected = {"OK", "EAFNOSUPPORT"} if "INET6" in name else {"OK"}
        elif name in memory:
            expected = memory[name]
        elif name in absent:
            expected = {"ENOSYS"}
        else:
            expected = {"EAFNOSUPPORT"} if "socket" in name and "NETLINK" not in name else {"EPERM"}
        assert answer in expected, (name, answer)
    assert len(answers) == PROBE.count('": (')


def test_the_probe_finds_other_answers_without_the_filter(tmp_path: Path) -> None:
    """So the filter is what refuses, not the lack of capabilities."""
    ran = finish(sandbox_in(tmp_path, "none").launch(["python3", "-c", textwrap.dedent(PROBE)], {}))
    answers = dict(line.split("=") for line in ran.out.splitlines())
    assert answers["open_by_handle_at"] != "EPERM"
    assert answers["ioctl TIOCSTI"] == "EBADF"
    assert answers["unshare"] == "OK"
    assert answers["shmget of much"] == "ENOENT"
    assert answers["msgget"] == answers["semget"] == "ENOENT"
    assert answers["mq_open"] == "EFAULT"


PROGRAMS = {
    "git": "git init -q here; cd here; echo x > x; git add .; git -c user.name=a -c user.email=a@b commit -qm m; git log",
    "python3": """
        python3 - <<'END'
        import asyncio, concurrent.futures, multiprocessing, socket, subprocess, threading
        with multiprocessing.Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
        with concurrent.futures.ThreadPoolExecutor() as pool: assert list(pool.map(abs, [-1])) == [1]
        assert asyncio.run(asyncio.sleep(0, 5)) == 5
        assert subprocess.run(["true"]).returncode == 0
        socket.if_nameindex(); socket.socketpair(); multiprocessing.Lock()
        END
    """,
    "node": """
        node -e 'const fs = require("fs"), os = require("os"); const { Worker } = require("worker_threads");
          os.networkInterfaces(); require("child_process").execSync("true");
          fs.promises.readFile("/etc/passwd").then(() => new Worker("process.exit(0)", { eval: true }))'
    """,
    "gcc": """
        printf '#include <stdio.h>\\n#include <pthread.h>\\nvoid *f(void *x) { return x; }\\n' > a.c
        printf 'int main() { pthread_t t; pthread_create(&t, 0, f, 0); pthread_join(t, 0); puts("built"); }\\n' >> a.c
        gcc -O2 -pthread a.c -o a; ./a
    """,
    "go": "printf 'package main\\nfunc main() { println(\"built\") }\\n' > a.go; GOCACHE=/tmp/go go run a.go",
    "gdb": "gdb -batch -ex run /bin/true | grep -q 'exited normally'",
    "bash": "bash -c 'set -o pipefail; seq 1000 | sort -rn | head -1; exec 3<>/dev/null; wait'",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_people_work_with_goes_on_working(tmp_path: Path, program: str) -> None:
    if not (shutil.which(program, path="/usr/local/bin:/usr/bin:/bin") or "").startswith(("/usr", "/bin")):
        pytest.skip(f"NOT TESTED: no {program}; install it with `apt-get install {PACKAGES.get(program, program)}`")
    ran = run_in(tmp_path, PROGRAMS[program])
    assert ran.status == 0, ran.err
