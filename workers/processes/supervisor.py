"""Runs one command, and kills all of its processes when the worker's lease or the worker itself ends.

The worker starts this file as a script (`python -I -S supervisor.py FD`) with the reading end of a pipe. The first line
of the pipe is a JSON object with what to run (`workers.processes.launch.Launch`); each further line is a deadline in
seconds on CLOCK_BOOTTIME. At the deadline, or when the pipe closes because the worker died or wants to stop, the whole
process tree is killed, including processes that ignore signals, left their session or were orphaned on purpose. The
exit status is that of the command, 128 + N if signal N killed it.

It imports only a few modules of the standard library, because every command of an attempt waits for its start.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

LINUX = sys.platform == "linux"
ENDED_BY_US = 124
CANNOT_START = 127

# Depends on how the kernel was built; see proc(5).
_KERNEL_LISTS_CHILDREN = os.path.exists("/proc/thread-self/children")
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)

_NICENESS, _OOM_SCORE = 10, 1000
# From <linux/prctl.h>, <linux/sched.h> and <linux/mount.h>.
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18


class WorkerPipe:
    """Reads the pipe from the worker: first what to run, then the deadlines."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._unread = b""
        self.deadline = 0.0

    def read_launch(self) -> dict[str, Any] | None:
        """What to run. None if the worker died before it sent that."""
        while b"\n" not in self._unread:
            chunk = os.read(self._pipe, 65536)
            if not chunk:
                return None
            self._unread += chunk
        line, self._unread = self._unread.split(b"\n", 1)
        launch: dict[str, Any] = json.loads(line)
        self.deadline = launch["deadline"]
        self._take_deadlines()
        return launch

    def read_deadline(self) -> bool:
        """Read the deadlines that the worker has sent. False if the pipe is closed, so that the command must end."""
        chunk = os.read(self._pipe, 4096)
        self._unread += chunk
        self._take_deadlines()
        return bool(chunk)

    def _take_deadlines(self) -> None:
        *lines, self._unread = self._unread.split(b"\n")
        if lines:
            self.deadline = float(lines[-1])


def main(pipe: int) -> int:
    os.set_inheritable(pipe, False)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if LINUX:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    wakeup, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    worker = WorkerPipe(pipe)
    launch = worker.read_launch()
    if launch is None:
        return ENDED_BY_US
    for number in launch["locks"]:
        os.set_inheritable(number, False)
    child = os.fork()
    if child == 0:
        exec_command(launch)
    for number in launch["descriptors"]:
        os.close(number)
    try:
        return wait_for_end(child, pipe, wakeup, worker)
    finally:
        kill_all(child)


def wait_for_end(child: int, pipe: int, wakeup: int, worker: WorkerPipe) -> int:
    """Wait until the command has ended, its deadline has passed or the worker has closed the pipe."""
    while True:
        status = _reap(child)
        if status is not None:
            return status
        left = worker.deadline - time.clock_gettime(_BOOT_CLOCK)
        if left <= 0:
            return ENDED_BY_US
        # `select` does not count the time of a suspension, so each wait is short.
        ready, _, _ = select.select([pipe, wakeup], [], [], min(left, 1.0))
        if pipe in ready and not worker.read_deadline():
            return ENDED_BY_US
        if wakeup in ready:
            os.read(wakeup, 4096)


def _reap(child: int) -> int | None:
    """Reap all processes that have ended, also orphans. Returns the exit status of `child` if it is one of them."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if pid == 0:
                break
    return None


def kill_all(child: int) -> None:
    """Kill until no process is left. A subreaper without children has no descendants either."""
    while True:
        if LINUX:
            kill_descendants(os.getpid())
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


def kill_descendants(root: int) -> None:
    """Stop every descendant of the process `root` first, so that none can fork meanwhile, then kill them all."""
    stopped: set[int] = set()
    while fresh := descendants(root).keys() - stopped:
        for pid in fresh:
            _signal(pid, signal.SIGSTOP)
        stopped |= fresh
    for pid in stopped:
        _signal(pid, signal.SIGKILL)


def descendants(root: int) -> dict[int, list[bytes]]:
    """All descendants of `root` by process id, each with the fields of its /proc/ID/stat after the name.

    Empty if there is no /proc.
    """
    children_of = _listed_children if _KERNEL_LISTS_CHILDREN else _children_by_parent()
    found: dict[int, list[bytes]] = {}
    unseen = [root]
    while unseen:
        for pid in children_of(unseen.pop()):
            if pid not in found and (fields := _fields_of(pid)):
                found[pid] = fields
                unseen.append(pid)
    return found


def _listed_children(pid: int) -> list[int]:
    """The children of a process, as the kernel lists them for each of its threads.

    A child that ends meanwhile may hide another. To find all of them, stop those that are found and call this again.
    """
    found: list[int] = []
    # A process or thread may end between the listing and the read.
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as children:
                found += map(int, children.read().split())
    return found


def _children_by_parent() -> Callable[[int], list[int]]:
    """The same from the stat file of every process, for kernels that list no children."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit() and (fields := _fields_of(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    return lambda pid: children.get(pid, [])


def _fields_of(pid: int) -> list[bytes]:
    """The fields of /proc/ID/stat after the name, which may contain spaces and parentheses; empty if it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()
    return []


def _signal(pid: int, number: int) -> None:
    # The process has ended, or is a set-uid program that belongs to another user now, which we may not signal.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def exec_command(launch: dict[str, Any]) -> None:
    """Execute the command in the forked child. Never returns."""
    try:
        # A session of its own, so that `kill 0` in a script does not reach the supervisor.
        os.setsid()
        os.umask(0o022)
        for number in (*_IGNORED, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for procs_file in launch["groups"]:
            with open(procs_file, "w") as procs:
                procs.write("0")
        lower_priority()
        for name, value in launch["limits"].items():
            _limit(getattr(resource, name), value)
        if launch["filter"]:
            descriptor = os.open(launch["filter"], os.O_RDONLY)
            os.set_inheritable(descriptor, True)
            launch["command"][1:1] = ["--seccomp", str(descriptor)]
        if launch["exposed"]:
            expose(launch["exposed"])
        if launch["uid"] is not None:
            become_user(launch["uid"])
        if LINUX:
            # Set after the change of user, which clears it. It matters only if the supervisor itself is killed.
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.chdir(launch["directory"])
        os.execvpe(launch["command"][0], launch["command"], launch["environment"])
    except Exception as error:
        os.write(2, f"cannot start {launch['command'][0]}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(CANNOT_START)


def lower_priority() -> None:
    """Give the worker and other services priority, and let the kernel kill the command first if memory runs out."""
    os.nice(_NICENESS)
    if LINUX:
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write(str(_OOM_SCORE))


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (wanted, wanted))


def expose(pairs: list[tuple[str, str]]) -> None:
    """Bind each source below /tmp of a private mount namespace, where an unprivileged user can reach it.

    Only root can do this, and only root needs it: the user that runs the sandbox cannot reach a workspace below a
    private directory such as /root. The sources are opened before /tmp is covered, because they may be in it.
    """
    _call("unshare", _CLONE_NEWNS)
    _call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    opened = [(os.open(source, os.O_PATH), target, os.path.isdir(source)) for source, target in pairs]
    _call("mount", b"tmpfs", b"/tmp", b"tmpfs", 0, b"mode=0755")
    for source, target, is_directory in opened:
        if is_directory:
            os.makedirs(target, 0o755)
        else:
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        _call("mount", f"/proc/self/fd/{source}".encode(), target.encode(), None, _MS_BIND | _MS_REC, None)
        os.close(source)


def become_user(uid: int) -> None:
    """Change from root to `uid`, with the group of the same number and no others."""
    for standard in (0, 1, 2):
        # Root created the pipes. A program that opens /dev/stderr opens the pipe again, as the new user.
        with contextlib.suppress(OSError):
            os.fchown(standard, uid, uid)
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def _prctl(option: int, value: int) -> None:
    _call("prctl", option, value, 0, 0, 0)


def _call(name: str, *arguments: bytes | int | None) -> None:
    """Call a function of the C library that returns 0, or raise OSError."""
    native = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*native) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
