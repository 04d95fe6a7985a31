"""Runs one command and makes sure that nothing of it outlives the worker's right to run it.

The worker starts this file as a script of its own (`python -I -S supervisor.py FD`) with the reading end of a
pipe. The first line of the pipe is a JSON object that says what to run (`workers.limits.command.Launch`); every further
line is a deadline in seconds on CLOCK_BOOTTIME. At the deadline, and when the pipe is closed because the worker has
gone or wants an end, the whole tree of processes is killed: those that ignore signals, left their session or were
orphaned on purpose included. The exit status is that of the command, 128 + N where signal N killed it.

Nothing but the standard library is imported, and little of it, because every command of an attempt waits for this.
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

_NICENESS, _CHOSEN_FIRST = 10, 1000
# From <linux/prctl.h>, <linux/sched.h> and <linux/mount.h>.
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18


class Orders:
    """The worker's end of the conversation: what to run, then how long it may live."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._unread = b""
        self.deadline = 0.0

    def read_launch(self) -> dict[str, Any] | None:
        """What to run; None where the worker has gone before it could say so."""
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
        """Take what the worker has written. False where the pipe is closed: the command has to end."""
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
    orders = Orders(pipe)
    launch = orders.read_launch()
    if launch is None:
        return ENDED_BY_US
    for number in launch["locks"]:
        os.set_inheritable(number, False)
    child = os.fork()
    if child == 0:
        become_the_command(launch)
    for number in launch["descriptors"]:
        os.close(number)
    try:
        return wait_for_end(child, pipe, wakeup, orders)
    finally:
        kill_everything(child)


def wait_for_end(child: int, pipe: int, wakeup: int, orders: Orders) -> int:
    """Wait until the command has ended, its deadline has passed or the worker has let go of it."""
    while True:
        status = _reap(child)
        if status is not None:
            return status
        left = orders.deadline - time.clock_gettime(_BOOT_CLOCK)
        if left <= 0:
            return ENDED_BY_US
        # Waiting does not count the time that the machine sleeps, so no wait is long.
        ready, _, _ = select.select([pipe, wakeup], [], [], min(left, 1.0))
        if pipe in ready and not orders.read_deadline():
            return ENDED_BY_US
        if wakeup in ready:
            os.read(wakeup, 4096)


def _reap(child: int) -> int | None:
    """Bury whatever has died, orphans too, and return the exit status of `child` where it was among them."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if pid == 0:
                break
    return None


def kill_everything(child: int) -> None:
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
    """Stop every descendant of the process `root` first, so that none can fork away, and then kill them all."""
    stopped: set[int] = set()
    while fresh := descendants(root).keys() - stopped:
        for pid in fresh:
            _signal(pid, signal.SIGSTOP)
        stopped |= fresh
    for pid in stopped:
        _signal(pid, signal.SIGKILL)


def descendants(root: int) -> dict[int, list[bytes]]:
    """All processes below `root` by their ids, each with the fields of its /proc/ID/stat that come after its name.

    Empty where there is no /proc.
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
    """The children of a process as the kernel lists them for each of its threads.

    One that ends meanwhile may hide another. Whoever must find all of them stops those that it finds and asks again.
    """
    found: list[int] = []
    # A process, or a thread, may end between the listing and the look.
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as children:
                found += map(int, children.read().split())
    return found


def _children_by_parent() -> Callable[[int], list[int]]:
    """The same by a look at every process of the machine, for kernels that list no children."""
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
    # Already gone, or a set-uid program that belongs to another user now: there is nothing more to be done.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def become_the_command(launch: dict[str, Any]) -> None:
    """Turn the forked child into the command; it never returns."""
    try:
        # A session of its own, so that `kill 0` in a script does not reach the supervisor.
        os.setsid()
        os.umask(0o022)
        for number in (*_IGNORED, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for entrance in launch["groups"]:
            with open(entrance, "w") as procs:
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
    """Let the worker and its neighbours go first, and let the kernel choose the command where memory runs out."""
    os.nice(_NICENESS)
    if LINUX:
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write(str(_CHOSEN_FIRST))


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (wanted, wanted))


def expose(pairs: list[tuple[str, str]]) -> None:
    """Bind each source below /tmp of a private mount namespace, where a user without rights can reach it.

    Only root can do this, and needs to: a workspace below a private directory such as /root is out of reach for
    the user that the sandbox is started as. The sources are opened before /tmp is covered, as they may lie in it.
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
    """Give up root for `uid`, with no other groups than the one of the same number."""
    for standard in (0, 1, 2):
        # The pipes were made by root. A program that opens /dev/stderr opens the pipe anew, as the new user.
        with contextlib.suppress(OSError):
            os.fchown(standard, uid, uid)
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def _prctl(option: int, value: int) -> None:
    _call("prctl", option, value, 0, 0, 0)


def _call(name: str, *arguments: bytes | int | None) -> None:
    """Call a function of the C library that answers 0, or raise OSError."""
    native = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*native) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
