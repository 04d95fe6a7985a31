"""Files of a repository that configure agents, and so can run code. They are withheld unless the site allows them.

Instruction files, such as AGENTS.md, CLAUDE.md and GEMINI.md, are text for a model, and are not withheld.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from workers.errors import FULL_DISK, EngineError, disk_full
from workers.safe_walk import Folder, walk
from workers.sandbox.base import Overlay
from workers.workspace.overlay import hide
from workers.workspace.untrackable import is_whiteout

# They hold hooks, commands, plugins, and servers that an agent starts. The paths of Claude Code and Codex are tested
# with the programs; the others are those documented for Gemini CLI, OpenCode, Qwen Code, Cursor, Copilot, Crush, Kiro
# and Amazon Q.
_FOLDERS = frozenset(
    (".claude", ".codex", ".gemini", ".opencode", ".qwen", ".cursor", ".copilot", ".crush", ".kiro", ".amazonq")
)
_FILES = frozenset((".mcp.json", "opencode.json", "opencode.jsonc", "crush.json", ".crush.json", ".aider.conf.yml"))
# An agent's configuration file that is in the home, beside such a folder.
_AT_HOME = frozenset((".claude.json",))
# Configuration of OpenCode and Crush in `~/.config`.
_CONFIG = ".config"
_IN_CONFIG = frozenset(("opencode", "crush"))
# Files of variables that many programs load from their working directory. The examples are only documentation.
_VARIABLES = ".env"
_EXAMPLES = frozenset((".env.example", ".env.sample", ".env.template", ".env.dist"))


def is_withheld(path: str, *, is_folder: bool = False) -> bool:
    """Whether a path of the checkout configures agents, or is in a folder that does.

    The comparison ignores case, because some file systems do.
    """
    *parents, name = path.casefold().split("/")
    if name in _FOLDERS or not _FOLDERS.isdisjoint(parents):
        return True
    is_variables = name == _VARIABLES or (name.startswith(f"{_VARIABLES}.") and name not in _EXAMPLES)
    return not is_folder and (name in _FILES or is_variables)


def withheld_at_top(paths: Iterable[str]) -> list[str]:
    """The files to withhold among `paths`, each by the highest of its folders that is withheld as a whole."""
    found: dict[str, None] = {}
    for path in paths:
        parts = path.split("/")
        places = ("/".join(parts[:cut]) for cut in range(1, len(parts) + 1))
        found[next(place for place in places if is_withheld(place, is_folder=place != path))] = None
    return list(found)


def withhold(
    root: Path, checkout: Path, home: Path, ours: Iterable[str], overlay: Overlay | None, of_base: Iterable[str]
) -> list[str]:
    """Withhold the agent configuration of an attempt, whose folder is `root`. Returns its paths, sorted, those of the home last.

    `ours` are the names that we are about to write in the home. In an overlay, what is `of_base` is hidden as well. No
    process of the agent may be running. Raises EngineError `setup_failed` and `disk_full`.
    """
    try:
        withheld = set(_withhold_from_checkout(checkout, root / "withheld"))
        if overlay:
            withheld.update(path for path in of_base if hide(overlay, os.fsencode(path)))
        in_home = withhold_from_home(home, root / "withheld-home", ours)
        return [*sorted(withheld), *(f"~/{name}" for name in in_home)]
    except OSError as error:
        if error.errno in FULL_DISK:
            raise disk_full("setup") from error
        message = (
            f"Agent configuration in the checkout or home could not be withheld: {error.strerror}. Check what the setup "
            "command does to it."
        )
        raise EngineError("setup_failed", "setup", message) from error


def _withhold_from_checkout(checkout: Path, aside: Path) -> list[str]:
    """Move all withheld files of `checkout` into the new folder `aside`. Returns their relative paths, sorted.

    Links are moved, never followed. No process of the agent may be running. Raises OSError.
    """
    aside.mkdir(mode=0o700)
    moved: list[str] = []
    for folder in walk(checkout, force=True):
        for name in _find(folder):
            os.rename(name, aside / str(len(moved)), src_dir_fd=folder.descriptor)
            moved.append(folder.path_of(name))
    return sorted(moved)


def withhold_from_home(home: Path, aside: Path, ours: Iterable[str]) -> list[str]:
    """Move agent configuration that the setup command left in the home into `aside`. Returns its names.

    `ours` are names that we are about to write there, so existing files of these names are moved as well.
    Links are moved, never followed. No process of the agent may be running. Raises OSError.
    """
    aside.mkdir(mode=0o700)
    nested = _withhold_from_folder(home / _CONFIG, aside)
    names = [name for name in os.listdir(home) if is_withheld(name) or name in _AT_HOME]
    for name in {*names, *ours}:
        with contextlib.suppress(FileNotFoundError):
            os.rename(home / name, aside / name)
    return sorted([*names, *nested])


def _withhold_from_folder(folder: Path, aside: Path) -> list[str]:
    """Move agent configuration out of `~/.config`, or that itself if it is a link, which may lead anywhere."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        os.rename(folder, aside / folder.name)
        return [folder.name]
    try:
        names = [name for name in os.listdir(descriptor) if name in _IN_CONFIG]
        for name in names:
            os.rename(name, aside / f"{folder.name}-{name}", src_dir_fd=descriptor)
    finally:
        os.close(descriptor)
    return [f"{folder.name}/{name}" for name in names]


def _find(folder: Folder) -> list[str]:
    """The names to withhold in an open folder. Its other folders are added to the walk."""
    found = []
    with os.scandir(folder.descriptor) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_withheld(entry.name, is_folder=is_folder):
                # What setup removed of the base is withheld already.
                if not is_whiteout(entry):
                    found.append(entry.name)
            elif is_folder and entry.name.lower() != ".git":
                folder.subfolders.append(entry.name)
    return found
