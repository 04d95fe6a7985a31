"""A machine as a new user has it: a bare Debian with an ordinary user in it.

Its root folder is made by debootstrap once and kept in a cache; after that only the user's home and the folders for
temporary files are written. It is entered by `pivot_root`, since the kernel forbids user namespaces to processes in a
plain chroot. Its processes have a PID namespace of their own, so none outlives its command.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.newcomer.registries import Access

USER, UID = "ada", 1000
HOME = f"/home/{USER}"
_PROGRAMS = ("debootstrap", "unshare", "pivot_root", "setpriv")
_INSTALL = "apt-get install debootstrap debian-archive-keyring util-linux"
# Nobody is there to answer, and a mirror may be older than its own date allows.
_APT = 'APT::Get::Assume-Yes "true";\nAcquire::Check-Valid-Until "false";\n'
_LOOPBACK_UP = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH14x', b'lo', 1))"


def why_not() -> str:
    """What keeps a bare Debian from being made here, with the remedy; empty where nothing does."""
    if os.geteuid() != 0:
        return "only root can make a bare Debian; run it as root: bin/test --newcomer"
    missing = [program for program in _PROGRAMS if not shutil.which(program)]
    if missing:
        return f"no {', '.join(missing)}; install it with `{_INSTALL}`"
    tried = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True)
    return f"namespaces are refused here: {tried.stderr.strip()}; run it outside of a container" if tried.stderr else ""


class NoDebianError(Exception):
    """Debootstrap failed, most often since no mirror of Debian could be reached."""


@dataclass(frozen=True)
class Machine:
    """A bare Debian. What its user writes lies in `scratch`; `shared` are folders of ours that it sees below /srv."""

    root: Path
    scratch: Path
    access: Access
    shared: tuple[Path, ...] = ()

    def run(
        self, script: str, *, seconds: float, as_root: bool = False, own_network: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script in the user's home, or as root, to its end; its errors come with its output.

        In a network of its own nothing is reached but what the script itself serves. Raises TimeoutExpired.
        """
        user = "root" if as_root else USER
        home = "/root" if as_root else HOME
        ids = [f"--reuid={UID}", f"--regid={UID}", "--init-groups", "--inh-caps=-all"]
        # The change of user clears the signal by which --kill-child ends the command together with us.
        become = [] if as_root else ["setpriv", *ids, "--pdeathsig=KILL"]
        variables = {"HOME": home, "USER": user, "LOGNAME": user, "LANG": "C.UTF-8", **self.access.variables}
        environment = [f"{name}={value}" for name, value in variables.items()]
        command = [*become, "env", "-i", *environment, "sh", "-lc", f"cd {home}\n{script}"]
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *(["--net"] if own_network else [])]
        return subprocess.run(
            [*unshare, "sh", "-euc", "\n".join(self._enter(own_network)), "sh", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
        )

    def _enter(self, own_network: bool) -> list[str]:
        """The lines of a script that makes the machine's root folder that of the command in its arguments."""
        root = shlex.quote(str(self.root))
        lines = [f"{shlex.quote(sys.executable)} -c {shlex.quote(_LOOPBACK_UP)}"] if own_network else []
        lines += ["mount --make-rprivate /", f"mount --bind {root} {root}", f"cd {root}"]
        lines += ["mount -t proc proc proc", "mount -t tmpfs -o mode=755 tmpfs run"]
        binds = {Path("/dev"): "dev", Path("/sys"): "sys"}
        binds |= {self._made(name): name for name in (HOME.removeprefix("/"), "tmp", "var/tmp")}
        binds |= {path: f"srv/{path.name}" for path in self.shared}
        binds |= {path: str(path).removeprefix("/") for path in self.access.paths}
        for source, target in binds.items():
            _make_place(self.root / target, source.is_dir())
            lines.append(f"mount --rbind {shlex.quote(str(source))} {shlex.quote(target)}")
        return [*lines, "pivot_root . mnt", "cd /", "umount --lazy mnt", 'exec "$@"']

    def _made(self, name: str) -> Path:
        """A folder of the user's own."""
        folder = self.scratch / name
        if not folder.exists():
            folder.mkdir(parents=True)
            os.chown(folder, UID, UID)
            folder.chmod(0o755 if name.startswith("home") else 0o1777)
        return folder


def _make_place(at: Path, is_folder: bool) -> None:
    """Something to mount on."""
    at.parent.mkdir(parents=True, exist_ok=True)
    if is_folder:
        at.mkdir(exist_ok=True)
    else:
        at.touch()


def make_root(release: str, install: str, access: Access) -> Path:
    """The root folder of a release of Debian on which root ran the command `install`, which is kept for the next time.

    Raises NoDebianError, and RuntimeError where the command fails.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "agent-runners-tests")
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / f"{release}-{hashlib.sha256(install.encode()).hexdigest()[:12]}"
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                _bootstrap(Path(folder, "root"), release, install, access, Path(folder, "scratch"))
                Path(folder, "root").rename(root)
    return root


def _bootstrap(root: Path, release: str, install: str, access: Access, scratch: Path) -> None:
    root.mkdir(mode=0o755)
    made = subprocess.run(["debootstrap", "--variant=minbase", release, root], text=True, stdout=subprocess.PIPE)
    if made.returncode:
        raise NoDebianError(made.stdout[-2000:])
    (root / "etc/apt/apt.conf.d/yes").write_text(_APT)
    # Its own packages write where the certificates of this machine would be mounted.
    machine = Machine(root, scratch, Access(access.variables, ()))
    user = f"useradd --create-home --uid {UID} --shell /bin/bash {USER}"
    script = f"set -e; export DEBIAN_FRONTEND=noninteractive; {user}; apt-get update; {install}"
    done = machine.run(script, as_root=True, seconds=900)
    if done.returncode:
        raise RuntimeError(f"`{install.strip()}` failed on a bare Debian: {done.stdout[-3000:]}")
