"""bin/setup on machines that lack something."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "cat", "cksum", "dirname", "rm", "env")


@pytest.fixture
def project(folder: Path) -> Path:
    """A project with bin/setup, on a machine that has nothing else: PATH is only `tools`."""
    for name in ("setup.cfg", "pyproject.toml", "constraints.txt", "bin/setup"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "tools").mkdir()
    for tool in TOOLS:
        (folder / "tools" / tool).symlink_to(str(shutil.which(tool)))
    return folder


def setup(project: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(project / "tools"), "HOME": os.environ.get("HOME", "/"), **variables}
    return subprocess.run(
        [project / "bin" / "setup", *arguments], env=environment, capture_output=True, text=True, timeout=60
    )


def add_tool(project: Path, name: str, script: str) -> None:
    (project / "tools" / name).write_text(f"#!/bin/sh\n{script}\n")
    (project / "tools" / name).chmod(0o755)


def test_an_old_python_is_reported_in_one_line(project: Path) -> None:
    add_tool(project, "python3", 'case $1 in --version) echo "Python 3.9.2" ;; *) exit 1 ;; esac')
    done = setup(project)
    assert done.returncode == 1
    assert "Python 3.11 or newer is needed, and Python 3.9.2 was found" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_python_is_reported_in_one_line(project: Path) -> None:
    done = setup(project)
    assert done.returncode == 1
    assert "and no python3 was found" in done.stderr


@pytest.mark.parametrize("named", ["python2.7", "/nowhere/python3", "/bin/true"])
def test_a_requested_python_is_used_or_refused(project: Path, named: str) -> None:
    test_without_venv_uv_makes_the_environment(project)
    add_tool(project, "python2.7", "exit 1")
    done = setup(project, PYTHON=named)
    assert done.returncode == 1
    assert f"PYTHON={named} is not a Python 3.11 or newer" in done.stderr and len(done.stderr.splitlines()) == 1
    assert (project / ".venv" / ".installed").exists()


def test_an_environment_of_another_python_is_recreated(project: Path) -> None:
    test_without_venv_uv_makes_the_environment(project)
    add_tool(project, "another", f"case $2 in *base_prefix*) echo another ;; *) {WITHOUT_VENV} ;; esac")
    assert setup(project, PYTHON=sys.executable).stderr == ""
    assert "installing" in setup(project, PYTHON="another").stderr
    assert "--python another" in (project / "uv.log").read_text()


# A new Python of a Debian that has split `ensurepip` off.
WITHOUT_VENV = f'case $2 in *ensurepip*) exit 1 ;; *) exec {sys.executable} "$@" ;; esac'


def test_without_venv_and_uv_the_package_is_named(project: Path) -> None:
    add_tool(project, "python3", WITHOUT_VENV)
    done = setup(project)
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr
    assert not (project / ".venv").exists()


def test_without_venv_uv_makes_the_environment(project: Path) -> None:
    add_tool(project, "python3", WITHOUT_VENV)
    add_tool(
        project, "uv", f'echo "$@" >> {project}/uv.log; [ "$1" = pip ] || {sys.executable} -m venv --without-pip .venv'
    )
    assert setup(project).returncode == 0
    made, installed = (project / "uv.log").read_text().splitlines()
    assert made.startswith("venv ")
    assert installed.startswith("pip install ") and "--constraint constraints.txt" in installed
    assert installed.endswith("--editable .[server]")


# A Python whose environments have a pip, which cannot get a newer one.
WITH_OLD_PIP = f"""
case "$*" in
    *version_info*) echo True ;;
    "-m venv "*) PATH={os.environ["PATH"]}; mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; touch "$3/bin/pip" ;;
    "-m pip "*) echo "$@" >> pip.log; case "$*" in *"--upgrade pip") exit 1 ;; esac ;;
esac
"""


def test_a_pip_that_cannot_be_replaced_installs_the_product(project: Path) -> None:
    add_tool(project, "python3", WITH_OLD_PIP)
    done = setup(project)
    assert done.returncode == 0 and "pip could not be replaced by a newer one" in done.stderr
    replaced, installed = (project / "pip.log").read_text().splitlines()
    # By itself it would try for more than a minute.
    assert "--retries 1 --timeout 10" in replaced
    assert installed.endswith("--constraint constraints.txt --editable .[server]") and "--retries" not in installed
    assert setup(project).stderr == ""


def test_nothing_is_done_if_nothing_has_changed(project: Path) -> None:
    test_without_venv_uv_makes_the_environment(project)
    assert setup(project).stderr == ""
    assert setup(project, "--test").returncode == 0
    assert ".[server,test]" in (project / "uv.log").read_text().splitlines()[-1]
    assert setup(project).stderr == ""
    (project / "constraints.txt").write_text("")
    assert "installing" in setup(project).stderr
    assert ".[server,test]" in (project / "uv.log").read_text().splitlines()[-1]
    assert len((project / "uv.log").read_text().splitlines()) == 4


def test_an_unknown_option_is_refused(project: Path) -> None:
    done = setup(project, "--tset")
    assert done.returncode == 1
    assert "there is no option --tset" in done.stderr
