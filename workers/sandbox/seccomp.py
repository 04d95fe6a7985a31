"""The system call filters, of agents in the form that `bwrap --seccomp` takes, and of git that contacts a remote.

That of agents allows every call that is not listed here, because compilers, debuggers, browsers and language runtimes must work. It
refuses calls into parts of the kernel that such programs do not need and that have been used to escape from sandboxes.
The lists follow Flatpak (`setup_seccomp` in common/flatpak-run.c) and the calls that Docker's default profile
(profiles/seccomp/default.json of moby) allows only with capabilities, which no process in the sandbox has. `ptrace` is
allowed, as in Docker: it reaches only the sandbox's own processes. `io_uring`, which both allowed at first, is refused
because of its history of vulnerabilities, as Docker came to do; runtimes work without it.

That of git refuses more, because git needs less, and because nothing else separates it from the other processes of its user.

Programs for another architecture, such as 32-bit ones, are killed, because their calls have other numbers.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_REFUSED = (
    *("add_key", "keyctl", "request_key", "bpf", "perf_event_open", "userfaultfd", "syslog", "uselib", "acct"),
    *("modify_ldt", "quotactl", "quotactl_fd", "lookup_dcookie", "fanotify_init", "open_by_handle_at", "kcmp"),
    *("mount", "umount", "umount2", "pivot_root", "chroot", "setns", "unshare", "swapon", "swapoff", "reboot"),
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module"),
    *("iopl", "ioperm", "settimeofday", "stime", "clock_settime", "clock_adjtime", "adjtimex", "vhangup"),
    *("sethostname", "setdomainname", "move_pages", "migrate_pages", "nfsservctl", "vm86", "vm86old"),
    # The kernel keeps queued messages and semaphores for no process, so no limit of a process counts them.
    *("msgget", "semget", "mq_open"),
)
# Older kernels lack these, so programs work without them. A filter cannot check the arguments of clone3; the C library
# falls back to clone.
_ABSENT = (
    *("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "open_tree", "move_mount", "mount_setattr"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "memfd_secret"),
)
# CLONE_NEWTIME cannot be used with clone. From <linux/sched.h>: mnt, cgroup, uts, ipc, user, pid, net.
_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
# Both insert input into a terminal as if it had been typed.
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_FAMILIES = (_UNIX, _INET, _INET6, _NETLINK)
_LOW = 0xFFFFFFFF
_LARGEST_SEGMENT = 64 * 1024
# Calls by which one process of a user acts on another, and those that change files which are only readable.
_REFUSED_TO_GIT = (
    *(
        "kill",
        "tkill",
        "tgkill",
        "rt_sigqueueinfo",
        "rt_tgsigqueueinfo",
        "pidfd_open",
        "pidfd_send_signal",
        "pidfd_getfd",
    ),
    *(
        "ptrace",
        "process_vm_readv",
        "process_vm_writev",
        "process_madvise",
        "process_mrelease",
        "setpriority",
        "ioprio_set",
    ),
    *("sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler"),
    *("shmget", "shmat", "shmctl", "msgsnd", "msgrcv", "msgctl", "semop", "semtimedop", "semctl", "mq_unlink"),
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "truncate", "file_setattr"),
    *(
        "setxattr",
        "lsetxattr",
        "fsetxattr",
        "setxattrat",
        "removexattr",
        "lremovexattr",
        "fremovexattr",
        "removexattrat",
    ),
    *("utime", "utimes", "utimensat", "futimesat"),
)
_READ_ONLY_AND_TRUNCATE, _TRUNCATE = os.O_ACCMODE | os.O_TRUNC, os.O_TRUNC


@dataclass(frozen=True)
class Rule:
    """A call to refuse: its name, the error it gets, and conditions on its arguments, all of which must hold.

    A condition is the index of the argument, the name of a libseccomp comparison, and its operands.
    """

    call: str
    error: int
    conditions: tuple[tuple[int, str, int, int], ...] = ()


@functools.cache
def program() -> bytes | None:
    """The filter of agents, compiled for this machine; None if libseccomp is not installed."""
    return _compiled(_rules())


@functools.cache
def program_for_git(*, unix_sockets: bool) -> bytes | None:
    """The same for git that contacts a remote. `unix_sockets` says whether it may connect to those of this machine."""
    return _compiled([*_rules_for_git(unix_sockets), *_rules()])


def _compiled(rules: Iterable[Rule]) -> bytes | None:
    try:
        import pyseccomp
    except (ImportError, OSError, RuntimeError, TypeError):
        return None
    made = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    for rule in rules:
        arguments = [pyseccomp.Arg(place, getattr(pyseccomp, how), *values) for place, how, *values in rule.conditions]
        # An older libseccomp does not know the newest calls.
        with contextlib.suppress(OSError):
            made.add_rule(pyseccomp.ERRNO(rule.error), rule.call, *arguments)
    return _exported(made)


def _rules() -> Iterator[Rule]:
    for call in _REFUSED:
        yield Rule(call, errno.EPERM)
    for call in _ABSENT:
        yield Rule(call, errno.ENOSYS)
    for flag in _NAMESPACES:
        yield Rule("clone", errno.EPERM, ((0, "MASKED_EQ", flag, flag),))
    # The kernel uses only the lower half of these arguments.
    for request in (_TIOCSTI, _TIOCLINUX):
        yield Rule("ioctl", errno.EPERM, ((1, "MASKED_EQ", _LOW, request),))
    for call in ("socket", "socketpair"):
        for family in range(max(_FAMILIES)):
            if family not in _FAMILIES:
                yield Rule(call, errno.EAFNOSUPPORT, ((0, "EQ", family, 0),))
        yield Rule(call, errno.EAFNOSUPPORT, ((0, "GT", max(_FAMILIES), 0),))
    # Programs use NETLINK_ROUTE, protocol 0, to list the addresses of the machine.
    yield Rule("socket", errno.EPERM, ((0, "EQ", _NETLINK, 0), (2, "NE", 0, 0)))
    # The memory of a segment that no process has mapped counts for no process, so no other limit applies to it.
    # Databases need a few bytes of one. The error is the one for exceeding the system's own limit (shmget(2)).
    yield Rule("shmget", errno.EINVAL, ((1, "GT", _LARGEST_SEGMENT, 0),))


def _rules_for_git(unix_sockets: bool) -> Iterator[Rule]:
    for call in _REFUSED_TO_GIT:
        yield Rule(call, errno.EPERM)
    yield Rule("openat2", errno.ENOSYS)
    # Limits of other processes.
    yield Rule("prlimit64", errno.EPERM, ((0, "NE", 0, 0),))
    # Landlock does not notice this before its version 3.
    for call, place in (("open", 1), ("openat", 2)):
        yield Rule(call, errno.EPERM, ((place, "MASKED_EQ", _READ_ONLY_AND_TRUNCATE, _TRUNCATE),))
    if not unix_sockets:
        yield Rule("socket", errno.EACCES, ((0, "EQ", _UNIX, 0),))


def _exported(made: Any) -> bytes:
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()
