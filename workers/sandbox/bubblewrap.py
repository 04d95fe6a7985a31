"""The bubblewrap sandbox: its own namespaces, no capabilities, and only the files that it needs.

The PID namespace makes sure that an attempt ends completely: when its first process dies, all others are killed.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from workers.egress.process import Egress
from workers.errors import Stage
from workers.job import Limits
from workers.processes.launch import Launch
from workers.sandbox import seccomp
from workers.sandbox.base import Directories, Place, minimal_environment, resource_limits
from workers.sandbox.program import BubblewrapUnavailable, find_program

PLACE = Place(checkout="/workspace", home="/home/agent", temporary="/tmp", attachments="/attachments", isolated=True)

_ISOLATION = (
    *("--unshare-user", "--unshare-all", "--disable-userns", "--cap-drop", "ALL"),
    *("--die-with-parent", "--new-session", "--hostname", "sandbox"),
)
_TEMPORARY_BYTES = 2 * 1024**3
_SHARED_BYTES = 512 * 1024**2
_NO_BYTES = 4096
_SYSTEM_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
# What programs need to resolve names, verify certificates and find their libraries; no users or keys.
_ETC_FOLDERS = ("alternatives", "ca-certificates", "ld.so.conf.d", "pki", "ssl")
_ETC_FILES = [
    Path("/etc", name)
    for name in (
        *("gai.conf", "host.conf", "hosts", "nsswitch.conf", "protocols", "resolv.conf", "services"),
        *("ca-certificates.conf", "ld.so.cache", "ld.so.conf", "localtime", "mime.types"),
    )
]
_PRIVATE = ("/etc/ssl/private", "/etc/pki/tls/private")


class Bubblewrap:
    """The sandbox of one attempt. If the worker is root, commands run as `uid`, else as the worker's user."""

    place = PLACE

    def __init__(self, directories: Directories, uid: int, limits: Limits, egress: Egress | None = None) -> None:
        """Raises BubblewrapUnavailable if there is no usable program."""
        self._program = find_program()
        self._limits = limits
        self._filter = _write_filter(directories.root)
        self.owner = uid if os.geteuid() == 0 else None
        self._directories = directories
        self._egress = egress
        self._users = _write_users(directories.root, os.geteuid() if self.owner is None else uid)

    def launch(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        runtime_paths: Sequence[Path] = (),
        stage: Stage = "agent",
    ) -> Launch:
        runtime = [path for path in runtime_paths if not path.is_relative_to("/usr")]
        binds = [
            ("--bind", self._directories.checkout, PLACE.checkout),
            ("--bind", self._directories.home, PLACE.home),
            ("--ro-bind", self._directories.attachments, PLACE.attachments),
            *(("--ro-bind", path, str(path)) for path in runtime),
            *(_interpreter_binds() if self._egress else ()),
        ]
        _check_targets(target for _, _, target in binds)
        program, exposed = str(self._program.path), list[tuple[str, str]]()
        if self.owner is not None:
            program, exposed = self._program.exposed_below("/tmp")
        mounts: list[str] = []
        layers: tuple[str, ...] = ()
        for number, (option, source, target) in enumerate(binds):
            # Another user may not be able to reach the source, so root mounts it below /tmp first.
            reachable = str(source) if self.owner is None else f"/tmp/{number}"
            if target == PLACE.checkout and (overlay := self._directories.overlay):
                layers = (str(overlay.lower), str(overlay.upper), str(overlay.work), reachable)
            else:
                exposed.append((str(source), reachable))
            mounts += [option, reachable, target]
        variables = {**minimal_environment(PLACE, "/usr/local/bin:/usr/bin:/bin", runtime), **environment}
        if self._egress is not None:
            variables |= self._egress.variables(stage)
        return Launch(
            command=[program, *_ISOLATION, *_system(), *mounts, *_close_root(), *command],
            environment=dict(_without_linker_variables(variables)),
            directory="/",
            uid=self.owner,
            exposed=exposed if self.owner is not None else (),
            overlay=layers,
            limits=resource_limits(self._limits),
            filter=self._filter,
            copies=[(str(file), f"/etc/{file.name}") for file in (*_ETC_FILES, *self._users)],
            networks=self._egress.networks(stage) if self._egress else (),
        )


def _system() -> Iterator[str]:
    """The operating system, read-only. On older systems /bin and others are folders, so they are bound too."""
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _SYSTEM_LINKS:
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", os.readlink(path), str(path))
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))
    for name in _ETC_FOLDERS:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    for name in _PRIVATE:
        # The worker's user may be in a group that can read the keys of servers. The agent must not read them.
        if os.path.isdir(name):
            yield from ("--size", str(_NO_BYTES), "--tmpfs", name, "--remount-ro", name)
    # Bubblewrap protects /proc/sys only where its folder is writable. Its files are: those of the sandbox's own namespaces
    # set how much memory queues and shared memory may use, and root has all others.
    yield from ("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys")
    yield from ("--dev", "/dev", "--size", str(_SHARED_BYTES), "--tmpfs", "/dev/shm")
    # The memory of a tmpfs without a size would not be limited.
    yield from ("--remount-ro", "/dev", "--size", str(_TEMPORARY_BYTES), "--tmpfs", "/tmp")


def _interpreter_binds() -> Iterator[tuple[str, Path, str]]:
    """Our interpreter, which says where scripts failed (`workers/agents/script.py`), and the files that it needs outside /usr."""
    library = Path(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("INSTSONAME") or "")
    for path in dict.fromkeys((Path(sys.executable).resolve(), Path(os.__file__).resolve().parent, library)):
        if path.exists() and not path.is_relative_to("/usr"):
            yield "--ro-bind", path, str(path)


def _check_targets(targets: Iterable[str]) -> None:
    """Refuse to mount below a folder that the agent can write to, because it may have created a symbolic link there.

    Before version 0.12, bubblewrap follows such a link out of the sandbox (GHSA-pxhw-h44j-8pfx).
    """
    for target in targets:
        for place in (PLACE.checkout, PLACE.home):
            if target.startswith(f"{place}/"):
                reason = f"{target} is below {place}, which the agent can write to inside the sandbox."
                raise BubblewrapUnavailable(reason, "Install the program that needs it in another folder.")


def _close_root() -> Iterator[str]:
    """Make the root read-only after all mounts: it is a tmpfs, and its memory would not be limited."""
    yield from ("--remount-ro", "/", "--chdir", PLACE.checkout, "--")


def _without_linker_variables(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Leave out variables of the dynamic linker: bwrap itself gets them too, and starts outside the sandbox."""
    for name, value in environment.items():
        if not name.startswith(("LD_", "GLIBC_", "MALLOC_")):
            yield name, value


def _write_filter(root: Path) -> str | None:
    """Write the system call filter, if there is one, and return its path."""
    program = seccomp.program()
    if program is None:
        return None
    path = root / "sandbox" / "filter"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(program)
    return str(path)


def _write_users(root: Path, uid: int) -> list[Path]:
    """Write passwd and group files for the sandbox's user, since some programs need the user to have a name."""
    folder = root / "sandbox" / "etc"
    folder.mkdir(parents=True, exist_ok=True)
    lines = {
        "passwd": f"agent:x:{uid}:{uid}:agent:{PLACE.home}:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
        "group": f"agent:x:{uid}:\nnogroup:x:65534:\n",
    }
    for name, text in lines.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o644)
    return [folder / name for name in lines]
