"""What one git command may reach, and the variables that tell it so."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field

from workers.repository.git_config import CONFIG

# The worker's variables that git gets. The others may hold secrets or change what git does.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_INHERITED = (
    *("PATH", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "SSH_AUTH_SOCK"),
    *_PROXIES,
    *(name.lower() for name in _PROXIES),
)
# Keepalives end a connection to a silent server after the same time as `http.lowSpeedTime`.
_SSH_OPTIONS = (
    "BatchMode=yes",
    "ConnectTimeout=15",
    "ControlMaster=no",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
)


@dataclass(frozen=True)
class Access:
    """What one command may reach: git protocols, and configuration that may hold a credential.

    The configuration is passed in the environment of that one command, so it appears in no argument list, URL or log.
    So are `variables`, which others than git read. `ssh_options` are passed to ssh if git starts it, and `ssh_target` are its
    arguments after them. `isolated` says whether the command is kept from all that it does not need, and `ports` are then
    the TCP ports that it needs: without any, all.
    """

    protocols: tuple[str, ...] = ()
    config: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    variables: tuple[tuple[str, str], ...] = ()
    ssh_options: tuple[str, ...] = ()
    ssh_target: tuple[str, ...] = ()
    isolated: bool = False
    ports: tuple[int, ...] = ()

    @property
    def ssh_command(self) -> list[str]:
        return ["ssh", *(f"-o{each}" for each in (*_SSH_OPTIONS, *self.ssh_options))]

    def environment(self) -> dict[str, str]:
        """All variables of the command."""
        config = [*CONFIG.items(), *self.config]
        return {
            **dict(self.variables),
            **{name: os.environ[name] for name in _INHERITED if name in os.environ},
            "HOME": os.devnull,
            **dict.fromkeys(("LC_ALL", "LANGUAGE"), "C"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "GIT_SSH_COMMAND": shlex.join(self.ssh_command),
            "GIT_ALLOW_PROTOCOL": ":".join(self.protocols),
            "GIT_CONFIG_COUNT": str(len(config)),
            **{f"GIT_CONFIG_KEY_{number}": key for number, (key, _) in enumerate(config)},
            **{f"GIT_CONFIG_VALUE_{number}": value for number, (_, value) in enumerate(config)},
        }


NO_ACCESS = Access()
