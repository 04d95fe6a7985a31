"""What a sandboxed command can see and do, and what a command gets without a sandbox."""

from __future__ import annotations

import dataclasses
import os
import socket
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.bubblewrap import REFUSED, fake_bubblewrap
from tests.workers.engine import IS_ROOT, SANDBOXES, Ran, finish, linux, needs_bubblewrap, sandbox_in
from workers.errors import EngineError
from workers.job import Host
from workers.sandbox import Sandbox, probe
from workers.sandbox.probing import remedy


def run_in(sandbox: Sandbox, script: str, environment: Mapping[str, str] | None = None) -> Ran:
    return finish(sandbox.launch(["sh", "-c", script], environment or {}))


@pytest.fixture
def bubblewrap(tmp_path: Path) -> Sandbox:
    return sandbox_in(tmp_path / "work", "bubblewrap")


@pytest.mark.parametrize("kind", SANDBOXES)
def test_the_command_gets_its_paths(tmp_path: Path, kind: str) -> None:
    sandbox = sandbox_in(tmp_path / "work", kind)
    (tmp_path / "work" / "attachments" / "note.txt").write_text("attached")
    ran = run_in(
        sandbox,
        'cat "$AGENT_RUNNERS_ATTACHMENTS/note.txt"; echo; echo made > in-checkout; echo made > ~/in-home;'
        'echo made > "$TMPDIR/in-tmp" && pwd && echo "$HOME"',
    )
    assert ran.out == f"attached\n{sandbox.place.checkout}\n{sandbox.place.home}"
    assert (tmp_path / "work" / "checkout" / "in-checkout").read_text() == "made\n"
    assert (tmp_path / "work" / "home" / "in-home").read_text() == "made\n"


@pytest.mark.parametrize("kind", SANDBOXES)
def test_nothing_of_the_workers_environment_is_passed_on(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "hunter2hunter2")
    ran = run_in(
        sandbox_in(tmp_path, kind), "env; for pid in 1 $$; do tr '\\0' '\\n' < /proc/$pid/environ; done", {"GIVEN": "x"}
    )
    assert "GIVEN=x" in ran.out.splitlines()
    assert kind == "none" or "hunter2" not in ran.out
    variables = {line.split("=")[0] for line in run_in(sandbox_in(tmp_path / "2", kind), "env").out.splitlines()}
    assert variables <= {
        *("PATH", "HOME", "TMPDIR", "LANG", "USER", "LOGNAME", "SHELL", "PWD", "SHLVL", "_"),
        "AGENT_RUNNERS_ATTACHMENTS",
    }


@pytest.mark.parametrize("kind", SANDBOXES)
def test_secrets_are_on_no_command_line(tmp_path: Path, kind: str) -> None:
    look = "for file in /proc/[0-9]*/cmdline; do tr '\\0' '\\n' < $file; done 2>/dev/null"
    launch = sandbox_in(tmp_path, kind).launch(["sh", "-c", look], {"KEY": "s3cret-value-of-a-key"})
    assert "s3cret" not in " ".join(launch.command)
    assert "s3cret" not in repr(launch)
    assert "s3cret" not in finish(launch).out


@pytest.mark.parametrize("kind", SANDBOXES)
def test_the_standard_streams_can_be_opened_by_name(tmp_path: Path, kind: str) -> None:
    """Scripts often do that. It fails if the pipes belong to another user."""
    ran = run_in(sandbox_in(tmp_path, kind), "echo out > /dev/stdout; echo err > /dev/stderr; cat < /dev/stdin")
    assert (ran.status, ran.out, ran.err) == (0, "out", "err")


@needs_bubblewrap
def test_the_host_is_not_visible(bubblewrap: Sandbox, tmp_path: Path) -> None:
    """Neither its files, nor its processes, nor its users."""
    (tmp_path / "host-file").write_text("private")
    home = Path.home()
    ran = run_in(
        bubblewrap, f"ls {home} {tmp_path} /var /root /run; ls -d /proc/[0-9]* | wc -l; cat /etc/passwd | wc -l"
    )
    assert ran.err.count("No such file") == 5
    assert [int(number) <= 4 for number in ran.out.split()] == [True, True]
    for name in ("/etc/shadow", "/etc/ssh", "/etc/hostname", "/sys"):
        assert run_in(bubblewrap, f"test -e {name}").status == 1


@needs_bubblewrap
def test_small_files_of_the_system_are_copies_of_those_that_all_may_read(bubblewrap: Sandbox, tmp_path: Path) -> None:
    """Bubblewrap looks at all mounts of the machine for each that it adds."""
    mounted = run_in(bubblewrap, "cut -d' ' -f5 /proc/self/mountinfo").out.split()
    assert "/usr" in mounted
    assert not {"/etc/hosts", "/etc/passwd"} & {*mounted}
    assert run_in(bubblewrap, "cat /etc/hosts").out == Path("/etc/hosts").read_text().strip()
    for name, mode in (("public", 0o644), ("private", 0o640)):
        (tmp_path / name).write_text(name)
        (tmp_path / name).chmod(mode)
    copies = [(str(tmp_path / name), f"/etc/{name}") for name in ("public", "private", "missing")]
    script = "cd /etc; ls public private missing; echo more >> public || rm public || chmod 600 public"
    ran = finish(dataclasses.replace(bubblewrap.launch(["sh", "-c", script], {}), copies=copies))
    assert (ran.out, ran.status) == ("public", 1)
    assert (tmp_path / "public").read_text() == "public"


@needs_bubblewrap
def test_private_keys_of_the_system_are_not_visible(bubblewrap: Sandbox) -> None:
    script = "for each in /etc/ssl/private /etc/pki/tls/private; do test ! -e $each || ls -A $each; done"
    ran = finish(bubblewrap.launch(["sh", "-c", script], {}))
    assert (ran.status, ran.out) == (0, "")


@linux
@pytest.mark.parametrize("kind", SANDBOXES)
def test_read_only_mounts_cannot_be_written(tmp_path: Path, kind: str) -> None:
    script = "chmod 600 /dev/stdin; echo more >> /dev/stdin; echo more >&0; cat"
    ran = finish(sandbox_in(tmp_path, kind).launch(["sh", "-c", script], {}), stdin=b"given")
    assert ran.out == "given"


@needs_bubblewrap
def test_system_files_cannot_be_changed(bubblewrap: Sandbox) -> None:
    for place in ("/", "/usr", "/etc", "/attachments", "/home"):
        assert run_in(bubblewrap, f"touch {place}/new").status != 0, place
    assert run_in(bubblewrap, "touch /tmp/new /dev/shm/new ./new ~/new").status == 0


@needs_bubblewrap
def test_settings_of_the_kernel_cannot_be_changed(bubblewrap: Sandbox) -> None:
    # Opening is enough: what may be opened may be written.
    script = 'for each in $(find /proc/sys -type f); do (: >> "$each") 2>/dev/null && echo "$each"; done; echo done'
    assert run_in(bubblewrap, script).out.strip() == "done"
    assert run_in(bubblewrap, "cat /proc/sys/kernel/hostname").out.strip() == "sandbox"


@needs_bubblewrap
@pytest.mark.parametrize("place", ["/workspace", "/home/agent"])
def test_nothing_is_mounted_where_the_agent_can_create_links(bubblewrap: Sandbox, place: str) -> None:
    with pytest.raises(EngineError, match=f"is below {place}") as refused:
        bubblewrap.launch(["true"], {}, [Path(place, "bin/node")])
    assert refused.value.code == "sandbox_unavailable"


@needs_bubblewrap
def test_it_has_no_privileges_and_cannot_gain_any(bubblewrap: Sandbox) -> None:
    ran = run_in(
        bubblewrap, "grep -E 'Cap(Eff|Prm|Bnd)|NoNewPrivs' /proc/self/status; id -u; unshare -Ur true; echo $?"
    )
    capabilities, user, nested = ran.out.splitlines()[:-2], *ran.out.splitlines()[-2:]
    assert all(int(line.split()[1], 16) == 0 for line in capabilities if line.startswith("Cap"))
    assert "NoNewPrivs:\t1" in capabilities
    assert int(user) == (Host(work_dir=Path()).sandbox_uid if IS_ROOT else os.geteuid())
    assert nested != "0"


@needs_bubblewrap
def test_there_is_no_network_without_a_proxy(bubblewrap: Sandbox) -> None:
    """What the proxy allows is tested in `tests/security`."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        bash = bubblewrap.launch(["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"], {})
        assert finish(bash).status != 0


@needs_bubblewrap
def test_linker_variables_do_not_reach_bubblewrap(bubblewrap: Sandbox) -> None:
    launch = bubblewrap.launch(["true"], {"LD_PRELOAD": "/tmp/evil.so", "GLIBC_TUNABLES": "x", "KEPT": "1"})
    assert {"LD_PRELOAD", "GLIBC_TUNABLES"}.isdisjoint(launch.environment)
    assert launch.environment["KEPT"] == "1"


@needs_bubblewrap
def test_resources_are_limited(bubblewrap: Sandbox) -> None:
    assert run_in(bubblewrap, "ulimit -c").out == "0"
    assert int(run_in(bubblewrap, "ulimit -f").out) > 0
    assert run_in(bubblewrap, "df -k /tmp | tail -1 | awk '{print $2}'").out == str(2 * 1024**2)


@needs_bubblewrap
def test_a_workspace_below_a_private_folder_can_be_used(tmp_path: Path) -> None:
    """For example if the worker is root and its data is in /root, which the sandbox's user cannot access."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    sandbox = sandbox_in(private / "data", "bubblewrap")
    assert probe(Host(work_dir=private / "data")).ok
    assert run_in(sandbox, "echo made > file; cat file; ls /attachments").out == "made"
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    made = private / "data" / "checkout" / "file"
    assert made.stat().st_uid == (Host(work_dir=private).sandbox_uid if IS_ROOT else os.geteuid())
    assert not any(path.name.isdigit() for path in Path("/tmp").glob("[0-9]"))


@needs_bubblewrap
def test_runtime_paths_are_readable_at_the_same_path(tmp_path: Path, bubblewrap: Sandbox) -> None:
    """A program in a user's home, with the files that it needs, but without the rest of the home."""
    private = tmp_path / "someone"
    package = private / "lib" / "package"
    package.mkdir(parents=True)
    private.chmod(0o700)
    (private / "diary").write_text("private")
    (package / "greeting").write_text("hello from the package")
    program = private / "bin" / "greet"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ncat {package}/greeting\n")
    program.chmod(0o755)
    launch = bubblewrap.launch(["sh", "-c", f"greet; ls {private}; touch {package}/new"], {}, [program, package])
    ran = finish(launch)
    assert ran.out.splitlines()[0].startswith("hello from the package")
    assert "diary" not in ran.out
    assert "Read-only" in ran.err


def test_a_working_sandbox_is_not_probed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(work_dir=tmp_path / "remembered")
    first = probe(host)
    monkeypatch.setenv("PATH", fake_bubblewrap(tmp_path / "tools", REFUSED))
    assert probe(host) == first or not first.ok
    assert not probe(Host(work_dir=tmp_path / "another")).ok


def test_a_refused_bubblewrap_is_reported_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not below /tmp, which the sandbox of root covers.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("PATH", fake_bubblewrap(Path(folder, "tools"), REFUSED))
        finding = probe(Host(work_dir=Path(folder, "work")))
    assert not finding.ok
    assert "bubblewrap 0.9.0" in finding.reason and "no permission to make namespaces" in finding.reason
    assert finding.remedy


def test_each_restricting_sysctl_has_a_remedy() -> None:
    sysctls: dict[str, str] = {}
    assert "container" in remedy(sysctls.get)
    sysctls["user/max_user_namespaces"] = "0"
    assert "max_user_namespaces" in remedy(sysctls.get)
    sysctls["kernel/unprivileged_userns_clone"] = "0"
    assert "unprivileged_userns_clone" in remedy(sysctls.get)
    sysctls["kernel/apparmor_restrict_unprivileged_userns"] = "1"
    assert "/etc/apparmor.d/bwrap" in remedy(sysctls.get)


def test_none_is_always_available(tmp_path: Path) -> None:
    assert probe(Host(work_dir=tmp_path, sandbox="none")).ok
    sandbox = sandbox_in(tmp_path / "work", "none")
    assert (sandbox.owner, sandbox.place.isolated) == (None, False)
    assert sandbox.place.temporary.startswith(sandbox.place.home)
