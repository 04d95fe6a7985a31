"""Each layer of protection is reported as working, missing or off, with a remedy unless it works."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bubblewrap import REFUSED, fake_bubblewrap
from tests.workers.engine import IS_ROOT, needs_bubblewrap
from workers.job import Host, Limits
from workers.limits.cgroups import find_parents
from workers.processes.confinement import landlock_version
from workers.sandbox import seccomp
from workers.sandbox.layers import Layer, layers
from workers.sandbox.program import find_program


def look(host: Host) -> dict[str, Layer]:
    found = {layer.name: layer for layer in layers(host, Limits())}
    assert all(bool(layer.remedy) == (layer.state != "working") for layer in found.values())
    return found


@needs_bubblewrap
def test_the_layers_of_this_machine(tmp_path: Path) -> None:
    found = look(Host(tmp_path))
    assert found["sandbox"].detail == str(find_program())
    states = {name: layer.state for name, layer in found.items()}
    assert states == {
        "sandbox": "working",
        "network of agents": "working",
        "user of agents": "working" if IS_ROOT else "off",
        "system call filter": "working" if seccomp.program() else "missing",
        "git on the host": "working" if seccomp.program() and landlock_version() else "missing",
        "control groups": "working" if len(find_parents().folders) == 3 else "missing",
        "limits of a session": "working",
    }


def test_without_a_sandbox_its_layers_are_off(tmp_path: Path) -> None:
    found = look(Host(tmp_path, sandbox="none"))
    for name in ("sandbox", "network of agents", "user of agents", "system call filter"):
        assert (found[name].state, "AGENT_RUNNERS_SANDBOX" in found[name].remedy) == ("off", True)


def test_a_broken_sandbox_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_bubblewrap(tmp_path / "tools", REFUSED))
    found = look(Host(tmp_path))
    assert (found["sandbox"].state, "bubblewrap 0.9.0" in found["sandbox"].detail) == ("missing", True)
    assert found["network of agents"].state == "missing"


def test_git_is_isolated_unless_the_operator_says_otherwise(tmp_path: Path) -> None:
    found = look(Host(tmp_path, sandbox="none", isolate_git=False))["git on the host"]
    assert (found.state, found.remedy) == ("off", "Unset AGENT_RUNNERS_ISOLATE_GIT")


def test_accounts_that_are_not_trusted_need_control_groups(tmp_path: Path) -> None:
    nowhere = find_parents(tmp_path)
    found = {layer.name: layer for layer in layers(Host(tmp_path, sandbox="none"), Limits(), nowhere)}["control groups"]
    assert (found.state, found.detail) == ("missing", "the worker cannot create control groups for memory, pids, cpu")
    assert found.remedy.startswith(
        "Accounts that do not trust each other, or that you do not trust, need control groups. "
    )
    assert "Delegate=yes" in found.remedy


def test_limits_are_shown_in_readable_units(tmp_path: Path) -> None:
    detail = look(Host(tmp_path))["limits of a session"].detail
    assert "4 GiB of memory" in detail and "1,024 processes" in detail and "1,000,000 files" in detail
