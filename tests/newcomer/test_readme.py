"""What the README tells a new user works word for word on a bare Debian, with nothing installed but what it names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from app.demo.deployment import NO_SANDBOX
from tests.newcomer.bare_debian import UID, Machine, NoDebianError, make_root, why_not
from tests.newcomer.readme import commands
from tests.newcomer.registries import find_access
from tests.workers.engine import ROOT

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=f"NOT TESTED: {why_not()}"),
    # Debian's packages and ours come over the network.
]

BETWEEN = "--- the next block ---"
# What a test may ask for: to be root, agents' programs, and programs of the host that nobody needs to use the product.
NEEDED = (
    r"\broot\b|bin/install-agents|nginx-light|install (systemd|chromium|openssh-client|xxd|bsdextrautils|git-lfs)\b"
)


# Each has another Python: 3.13, 3.11 and the newest one, which was 3.14 in 2026.
RELEASES = ["trixie", *(pytest.param(name, marks=pytest.mark.full) for name in ("bookworm", "sid"))]


@pytest.fixture(scope="module", params=RELEASES)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine on which the first command was run, with what is committed here to clone from."""
    install, *_ = commands("Try it")
    scratch = tmp_path_factory.mktemp("newcomer")
    project = scratch / "project.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, project], check=True)
    for path in (project, *project.rglob("*")):
        os.chown(path, UID, UID)
    access = find_access()
    try:
        root = make_root(request.param, install.replace("sudo ", ""), access)
    except NoDebianError as error:
        pytest.skip(f"NOT TESTED: no bare Debian could be made; see that debootstrap reaches a mirror: {error}")
    yield Machine(root, scratch, access, shared=(project,))
    shutil.rmtree(scratch)


@pytest.fixture(scope="module")
def demo(machine: Machine) -> str:
    """What the second command shows: a clone, and the demo."""
    _, start, *_ = commands("Try it")
    script = start.replace("<this repository>", "/srv/project.git").replace("bin/demo\n", "bin/demo --once\n")
    done = machine.run(f"set -e\n{script}", seconds=1200)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_demo_works(demo: str) -> None:
    assert "Sandbox: bubblewrap" in demo and NO_SANDBOX not in demo
    assert "/demo/sample/pull/1" in demo and "It is not merged yet." in demo


def test_the_tours_work(machine: Machine, demo: str) -> None:
    by_command = commands("Five minutes on the command line")
    by_curl = commands("Five minutes with curl", "docs/curl.md")
    between = f"\necho '{BETWEEN}'\n"
    script = f"""set -e
        cd agent-runners
        bin/demo > ../log.txt 2>&1 &
        until grep -q 'Press Ctrl-C to stop everything' ../log.txt; do kill -0 $!; sleep 0.5; done
        (
        {between.join(by_command)}
        )
        {between}
        {between.join(by_curl)}
        kill -KILL $!
        # Nothing is left of it. The brackets keep this search from finding itself.
        until ! grep -qs '[t]asks[.]worker' /proc/[0-9]*/cmdline; do sleep 0.2; done
        git status --porcelain"""
    done = machine.run(script, own_network=True, seconds=600)
    assert done.returncode == 0, done.stdout
    shown = done.stdout.split(f"{BETWEEN}\n")

    _, ran, diff, followed, published, stopped, archived = shown[: len(by_command)]
    assert "2 notes" in ran and "DONE" in ran
    assert "+./greeter/greet.py:2:    # TODO" in diff
    assert "DONE" in followed
    assert "/demo/sample/pull/" in published and re.search(r"^[0-9a-f]{40}$", published, re.MULTILINE)
    assert "CANCELLED" in stopped
    assert archived.endswith("\nArchived.\n")

    _, _, _, events, diff, followed, _, published, stopped, archived = shown[len(by_command) :]
    assert events.endswith('data: {"state": "DONE"}\n\n') and '"2 notes"' in events
    assert "+./greeter/greet.py:2:    # TODO" in diff
    assert followed.endswith('data: {"state": "DONE"}\n\n')
    assert "/demo/sample/pull/" in published and '"pr_error":null' in published
    assert '"merge_commit_error":null' in published and '"merge_commit_sha":null' not in published.splitlines()[-1]
    assert stopped.endswith('data: {"state": "CANCELLED"}\n\n')
    assert archived.count('"state":"ARCHIVED"') == 1 and archived.count("\n") == 1, "files were left in the checkout"


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("machine", RELEASES[:1], indirect=True)
def test_all_tests_pass_and_nothing_is_skipped_without_need(machine: Machine, demo: str) -> None:
    done = machine.run("cd agent-runners && bin/test && bin/test --e2e", seconds=7000)
    assert done.returncode == 0, done.stdout[-20_000:]
    skipped = re.findall(r"^SKIPPED .*", done.stdout, re.MULTILINE)
    assert [reason for reason in skipped if not re.search(NEEDED, reason)] == []
