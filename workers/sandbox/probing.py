"""Check whether the sandbox works on this machine, by running it with the flags that sessions use."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from workers.egress.process import open_egress
from workers.errors import EngineError
from workers.job import Host, Limits
from workers.limits.budget import Budget
from workers.limits.command import running
from workers.processes.lifeline import Lifeline
from workers.sandbox.base import Probe, TrialDirectories
from workers.sandbox.bubblewrap import Bubblewrap
from workers.sandbox.program import BubblewrapUnavailable, Program, find_program

_SECONDS = 20.0
_working: dict[Host, Probe] = {}


def probe(host: Host) -> Probe:
    """Try the sandbox of `host`. Success is cached for this process; a failure is tried again the next time."""
    if host.sandbox == "none":
        return Probe(ok=True)
    if sys.platform != "linux":
        return Probe(False, "bubblewrap runs on Linux only.", "Run the worker on Linux.")
    if host not in _working:
        finding = _find_and_run(host)
        if not finding.ok:
            return finding
        _working[host] = finding
    return _working[host]


def check_works(host: Host) -> None:
    """Raise EngineError `sandbox_unavailable` if the sandbox of `host` does not work."""
    finding = probe(host)
    if not finding.ok:
        raise EngineError("sandbox_unavailable", "setup", f"{finding.reason} {finding.remedy}")


def _find_and_run(host: Host) -> Probe:
    try:
        return _run(host, find_program())
    except BubblewrapUnavailable as error:
        return Probe(False, error.reason, error.remedy)


def _run(host: Host, program: Program) -> Probe:
    # Uses the folder of the real workspaces, so that the check covers access to it.
    host.work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="probe-", dir=host.work_dir) as folder:
        directories = TrialDirectories.create(Path(folder))
        budget = Budget(Limits(max_duration_seconds=_SECONDS))
        try:
            with contextlib.closing(open_egress(host, {"setup": ()})) as egress:
                sandbox = Bubblewrap(directories, host.sandbox_uid, Limits(), egress)
                launch = sandbox.launch(["true"], {}, stage="setup")
                with running(launch, lifeline=Lifeline(_SECONDS), budget=budget, stage="setup", merged=True) as process:
                    output = " ".join(line.text for line in process.lines() if line)
                proxy_runs = egress.is_running()
        except BubblewrapUnavailable:
            raise
        except EngineError as error:
            return Probe(False, f"{program} did not answer: {error.message}", remedy())
        if process.status != 0:
            return Probe(False, f"{program} does not work here: {output}", remedy())
        if not proxy_runs:
            return Probe(False, "The proxy of the sandbox's network ended at once.", remedy())
    return Probe(ok=True, program=str(program))


def remedy(read_sysctl: Callable[[str], str | None] | None = None) -> str:
    """What to do if the kernel refuses the sandbox, depending on the sysctls that are known to cause it."""
    read_sysctl = read_sysctl or _read_sysctl
    if read_sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor restricts user namespaces here, as on Ubuntu 24.04. Install the system's bubblewrap "
            "(`apt-get install bubblewrap`) and allow it to use them with a profile in "
            "/etc/apparmor.d/bwrap (`abi <abi/4.0>, include <tunables/global> profile bwrap /usr/bin/bwrap "
            "flags=(unconfined) { userns, }`, then `systemctl reload apparmor`), or allow all programs with "
            "`sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`."
        )
    if read_sysctl("kernel/unprivileged_userns_clone") == "0":
        return "User namespaces are disabled. Enable them: `sysctl -w kernel.unprivileged_userns_clone=1`."
    if read_sysctl("user/max_user_namespaces") == "0":
        return "User namespaces are disabled. Enable them: `sysctl -w user.max_user_namespaces=15000`."
    return (
        "User namespaces or mounts are refused here. In a container, start it with `--security-opt seccomp=unconfined "
        "--security-opt apparmor=unconfined --security-opt systempaths=unconfined`. If the worker runs as root, "
        "add `--cap-add SYS_ADMIN`."
    )


def _read_sysctl(name: str) -> str | None:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None
