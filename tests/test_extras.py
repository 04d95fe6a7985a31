"""What `pip install agent-runners` brings is enough for the client and the command line, and each extra for its part.

Another Python imports the part, and finds no package but those that its requirements name.
"""

from __future__ import annotations

import functools
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Imports what it is given, with all below packages whose name ends with a dot, and does not find what is refused.
IMPORT = """
import importlib, pkgutil, sys
refused, wanted = (set(part.split(",")) for part in sys.argv[1:])
class Refusing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refusing())
for name in sorted(wanted):
    module = importlib.import_module(name.rstrip("."))
    if name.endswith("."):
        for found in pkgutil.walk_packages(module.__path__, name):
            importlib.import_module(found.name)
"""


def packages_of(requirement: Requirement, known: set[tuple[str, frozenset[str]]]) -> set[str]:
    """The names of the packages that a requirement installs, with their own requirements."""
    name = canonicalize_name(requirement.name)
    if (name, frozenset(requirement.extras)) in known:
        return set()
    known.add((name, frozenset(requirement.extras)))
    try:
        needed = map(Requirement, distribution(name).requires or [])
    except PackageNotFoundError:
        return set()
    found = {name}
    for each in needed:
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)):
            found |= packages_of(each, known)
    return found


installed = functools.cache(packages_distributions)


@functools.cache
def refused(requirement: str) -> set[str]:
    """Modules of packages that are installed here, and that the requirement does not install."""
    allowed = packages_of(Requirement(requirement), set())
    return {
        module for module, owners in installed().items() if not allowed & {canonicalize_name(owner) for owner in owners}
    }


@pytest.mark.parametrize(
    ("requirement", "modules"),
    [
        ("agent-runners", "app.client.,app.cli.main,app.cli.remote."),
        pytest.param("agent-runners[mcp]", "app.mcp.", marks=pytest.mark.full),
        (
            "agent-runners[worker]",
            "app.cli.deployment.worker,tasks.celery_app,tasks.sweep,tasks.webhooks,tasks.doctor.",
        ),
        pytest.param(
            "agent-runners[server]", "app.web,app.cli.deployment.,app.mcp.,tasks.flower", marks=pytest.mark.full
        ),
    ],
)
def test_a_part_needs_only_what_is_installed_for_it(requirement: str, modules: str) -> None:
    arguments = [",".join(refused(requirement)), modules]
    done = subprocess.run([sys.executable, "-c", IMPORT, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_command_without_its_extra_names_it() -> None:
    script = IMPORT + "from app.cli.main import main; sys.exit(main(['up']))"
    arguments = [",".join(refused("agent-runners")), "app.cli.main"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.endswith("Run: pip install 'agent-runners[server]'\n")
