"""The URL of a remote repository: which ones this host may use, and where they lead."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from workers.errors import EngineError
from workers.job import Host
from workers.repository.host_check import ascii_name

_NAME_SERVER = 53
_SETTINGS = {"ssh": "AGENT_RUNNERS_ALLOW_SSH", "http": "AGENT_RUNNERS_ALLOW_HTTP"}
_SCP_STYLE = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!:)[^:]+")
_HOST = re.compile(r"([a-z]+://)?([^/@]*@)?(?P<host>[^/@:]+)")


def host_and_port(url: str) -> tuple[str, int | None]:
    """The host of a remote URL, and the port if it has one. Raises EngineError `repository_refused`."""
    try:
        parts = urlsplit(url)
        named = (parts.hostname if "://" in url else url.partition(":")[0].rpartition("@")[2]) or ""
        port = parts.port if "://" in url else None
        if port == 0:
            # Git connects to the protocol's own port then, which is not the one that is pinned.
            raise refused("The port in the repository URL must not be 0. Correct the site's repo_url.")
        if named.endswith("."):
            # Only the name without the dot is pinned, so git would resolve this one again.
            raise refused("The host name in the repository URL must not end in a dot. Remove the dot.")
        return ascii_name(named), port
    except ValueError:
        raise refused("The repository URL has no host. Correct the site's repo_url.") from None


def ports_to(proxy: str) -> tuple[int, ...]:
    """The ports that git needs to reach a proxy: its own, if it is named, and that of name servers."""
    try:
        port = urlsplit(proxy if "://" in proxy else f"//{proxy}").port
    except ValueError:
        return ()
    return (port, _NAME_SERVER) if port else ()


def ssh_target(url: str, name: str, port: int | None) -> tuple[str, ...]:
    """The arguments that tell ssh the host of this repository, as git gives them to it."""
    user = (urlsplit(url).username or "") if "://" in url else url.partition(":")[0].rpartition("@")[0]
    # A user may look like an option.
    return (*(("-p", str(port)) if port else ()), "--", f"{user}@{name}" if user else name)


def ascii_url(url: str) -> str:
    """The URL with the ASCII form of its host, which is the one that is pinned. Git would convert it by other rules.

    Raises EngineError `repository_refused`.
    """
    name, _ = host_and_port(url)
    found = _HOST.match(url)
    if found is None or found["host"].isascii():
        return url
    return f"{url[: found.start('host')]}{name}{url[found.end('host') :]}"


def local_path(url: str, host: Host) -> Path:
    """The real path of a local repository, if it is below the folder that the operator's settings name."""
    parts = urlsplit(url)
    path = Path(os.path.realpath(unquote(parts.path) if parts.scheme else url))
    allowed = host.local_repositories and Path(os.path.realpath(host.local_repositories))
    if not allowed or parts.netloc not in ("", "localhost") or not path.is_relative_to(allowed):
        raise refused(
            "Local repositories are allowed only below AGENT_RUNNERS_LOCAL_REPOSITORIES, which the operator sets."
        )
    return path


def protocol_of(url: str, host: Host) -> str:
    """The protocol of `url`, if the operator allows it. Raises EngineError `repository_refused`."""
    parts = urlsplit(url)
    if "://" in url:
        protocol = parts.scheme
        if protocol in ("https", "http") and parts.username is not None:
            raise refused("The repository URL must not contain a user or password. Use the site's access_token.")
        if not parts.hostname or parts.hostname.startswith("-"):
            raise refused("The repository URL has no host. Correct the site's repo_url.")
    elif _SCP_STYLE.fullmatch(url):
        protocol = "ssh"
    else:
        raise refused("The repository URL has a form that is not supported. Use https://host/path.")
    if protocol == "file" or protocol not in host.allowed_protocols:
        how = (
            f"Use https://, or ask the operator to set {_SETTINGS[protocol]}."
            if protocol in _SETTINGS
            else "Use https://."
        )
        raise refused(f"The protocol {protocol} is not allowed on this worker. {how}")
    return protocol


def refused(message: str) -> EngineError:
    return EngineError("repository_refused", "checkout", message)
