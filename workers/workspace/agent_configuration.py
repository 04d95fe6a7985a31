"""Files of a repository that configure agents and by that can run code. They take effect only by leave of the site.

Instruction files, such as AGENTS.md, CLAUDE.md and GEMINI.md, are text that a model reads, and are not among them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from workers.safe_walk import Folder, walk

# Hooks, servers that an agent starts, commands, plugins. Those of Claude Code and Codex are tried with the programs
# themselves; the others are where Gemini CLI, OpenCode, Qwen Code, Cursor, Copilot, Crush, Kiro and Amazon Q look.
_FOLDERS = frozenset(
    (".claude", ".codex", ".gemini", ".opencode", ".qwen", ".cursor", ".copilot", ".crush", ".kiro", ".amazonq")
)
_FILES = frozenset((".mcp.json", "opencode.json", "opencode.jsonc", "crush.json", ".crush.json", ".aider.conf.yml"))
# What of an agent's own lies in the home beside such a folder.
_AT_HOME = frozenset((".claude.json",))
# Variables that many programs take over from where they start; the examples are for people.
_VARIABLES = ".env"
_EXAMPLES = frozenset((".env.example", ".env.sample", ".env.template", ".env.dist"))


def is_withheld(path: str, *, is_folder: bool = False) -> bool:
    """Whether a path of the checkout is one that configures agents, or lies in a folder that does.

    Case does not count, since there are file systems that do not tell it apart.
    """
    *parents, name = path.casefold().split("/")
    if name in _FOLDERS or not _FOLDERS.isdisjoint(parents):
        return True
    is_variables = name == _VARIABLES or (name.startswith(f"{_VARIABLES}.") and name not in _EXAMPLES)
    return not is_folder and (name in _FILES or is_variables)


def withhold(checkout: Path, aside: Path) -> list[str]:
    """Move everything that is withheld out of `checkout` into the new folder `aside`; its paths, relative, in order.

    Links are moved themselves and never followed. Nothing of the agent's is running. Raises OSError.
    """
    aside.mkdir(mode=0o700)
    moved: list[str] = []
    for folder in walk(checkout, force=True):
        for name in _find(folder):
            os.rename(name, aside / str(len(moved)), src_dir_fd=folder.descriptor)
            moved.append(folder.path_of(name))
    return sorted(moved)


def withhold_from_home(home: Path, aside: Path, ours: Iterable[str]) -> list[str]:
    """Move what the setup command left at the top of the agent's home to configure agents into `aside`; its names.

    `ours` are the names there that we are about to write ourselves: whatever is there by now makes room as well.
    Links are moved themselves and never followed. Nothing of the agent's is running. Raises OSError.
    """
    names = [name for name in os.listdir(home) if is_withheld(name) or name in _AT_HOME]
    aside.mkdir(mode=0o700)
    for name in {*names, *ours}:
        with contextlib.suppress(FileNotFoundError):
            os.rename(home / name, aside / name)
    return sorted(names)


def _find(folder: Folder) -> list[str]:
    """What is withheld of an open folder, by name; the rest is walked through."""
    found = []
    with os.scandir(folder.descriptor) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_withheld(entry.name, is_folder=is_folder):
                found.append(entry.name)
            elif is_folder and entry.name.lower() != ".git":
                folder.subfolders.append(entry.name)
    return found
