"""The repository on the other side: whether it may be fetched from, with which credential, and what its errors mean."""

from __future__ import annotations

import base64
import functools
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from workers.egress.rules import is_address
from workers.errors import EngineError
from workers.job import Host
from workers.repository.git import Access, GitFailed
from workers.repository.host_check import ascii_name, find_addresses, proxy_for

_SETTINGS = {"ssh": "AGENT_RUNNERS_ALLOW_SSH", "http": "AGENT_RUNNERS_ALLOW_HTTP"}
_SCP_STYLE = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!:)[^:]+")
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
_AUTH = (
    "authentication failed",
    "could not read username",
    "could not read password",
    "returned error: 401",
    "returned error: 403",
    "permission denied",
    "access denied",
    "terminal prompts disabled",
)
_REDIRECT = re.compile(r"returned error: 30\d|redirect", re.IGNORECASE)
_BROKEN_RULE = re.compile(r"^error: object ([0-9a-f]{40}): (\w+): (.*)$", re.MULTILINE)
_MISSING = ("not found", "does not appear to be a git repository", "does not exist")


class Remote:
    """One repository URL, checked. Raises EngineError `repository_refused` for one that this host may not fetch from.

    The API checks URLs too; here they are checked again, because rows outlive settings.
    """

    def __init__(self, url: str, credential: str | None, host: Host) -> None:
        self._credential = credential
        if not url or url.startswith("-") or re.search(r"[\x00-\x20\x7f]", url):
            raise _refused("The address of the repository is empty or holds characters that are not allowed.")
        self._host = host
        self.is_local = url.startswith(("/", "file://"))
        self.url = str(_local_path(url, host)) if self.is_local else url
        self._protocol = "file" if self.is_local else _protocol(url, host)

    @functools.cached_property
    def access(self) -> Access:
        """What a command that speaks to this repository is granted. Its host is looked up once, and stays where it was.

        Raises EngineError, see `find_addresses`.
        """
        if self.is_local:
            return Access(("file",))
        name, port = _place(self.url)
        proxy = None if is_address(name) else proxy_for(self._protocol, name)
        if proxy:
            # Said once more, so that git goes the way that was thought of here.
            return Access((self._protocol,), (*self._authorization(), ("http.proxy", proxy)))
        addresses = find_addresses(name, self._host)
        if self._protocol == "ssh":
            # The key that the server has to show is that of its name.
            alias = name if port in (None, 22) else f"[{name}]:{port}"
            return Access(("ssh",), ssh_options=(f"HostName={addresses[0]}", f"HostKeyAlias={alias}"))
        port = port or (443 if self._protocol == "https" else 80)
        # Git 2.37 is the first to know of this; an older one looks the name up again.
        pin = ("http.curloptResolve", f"{name}:{port}:{','.join(addresses)}")
        return Access((self._protocol,), (*self._authorization(), *(() if is_address(name) else (pin,))))

    @property
    def options(self) -> list[str]:
        """Options of `git fetch` and `git ls-remote` that this repository needs."""
        # The operator named the folder, so it does not matter which user the repository belongs to. Configuration
        # in the environment does not reach the git that serves a local repository.
        return ["--upload-pack=git -c safe.directory=* upload-pack"] if self.is_local else []

    def translate(self, failed: GitFailed) -> EngineError:
        """What `failed`, raised by a command that spoke to this repository, means to a person."""
        errors = self.scrub(failed.errors)
        text = errors.lower()
        if any(phrase in text for phrase in _AUTH):
            how = "The token was not accepted" if self._credential else "It asks for a token, and the site has none"
            return EngineError("repository_auth", "checkout", f"The repository could not be read. {how}.")
        if "couldn't find remote ref" in text:
            return EngineError("branch_not_found", "checkout", "The repository has no such branch.")
        if "not our ref" in text or "unadvertised object" in text:
            return EngineError("base_gone", "checkout", "The repository no longer has that commit.")
        if "' not allowed" in text:
            return _refused("The protocol of the repository's address is not allowed on this worker.")
        if "mismatched algorithms" in text:
            return _refused(
                "The repository names its objects by SHA-256, which is not supported yet. Use one that names them by SHA-1."
            )
        if "fsck error" in text or "fsckobjects" in text:
            return _refused(
                f"The repository holds an object that git considers damaged or unsafe: {_broken_rule(errors)}"
            )
        if _REDIRECT.search(text):
            message = "The repository's address answers with a redirect. Set the site to the address it leads to."
            return EngineError("repository_unreachable", "checkout", message)
        is_missing = any(phrase in text for phrase in _MISSING)
        message = f"The repository could not be reached: {_last_line(errors)}"
        return EngineError("repository_unreachable", "checkout", message, retryable=not is_missing)

    def scrub(self, text: str) -> str:
        """`text` without the credential in any form, and without the user part of any URL."""
        if self._credential:
            for secret in (_basic(self._credential), self._credential, self._credential.partition(":")[2]):
                text = text.replace(secret, "***") if secret else text
        return _USERINFO.sub("", text)

    def _authorization(self) -> tuple[tuple[str, str], ...]:
        """The header that carries the credential: `user:password`, or a token, which forges take for any user name."""
        parts = urlsplit(self.url)
        if not self._credential or parts.scheme not in ("https", "http"):
            return ()
        header = f"Authorization: Basic {_basic(self._credential)}"
        return ((f"http.{parts.scheme}://{parts.netloc}/.extraHeader", header),)


def public_url(url: str) -> str | None:
    """The address as an agent may see it, without a user or password; None for one that is local to the worker."""
    if url.startswith(("/", "file://")):
        return None
    return url if url.startswith("ssh://") else _USERINFO.sub("", url)


def _place(url: str) -> tuple[str, int | None]:
    """The host that a remote address names, and its port where it names one. Raises EngineError `repository_refused`."""
    try:
        parts = urlsplit(url)
        named = (parts.hostname if "://" in url else url.partition(":")[0].rpartition("@")[2]) or ""
        if named.endswith("."):
            # Git would look that spelling up by itself, whatever the name without the dot is pinned to.
            raise _refused("The name of the repository's host must not end in a dot.")
        return ascii_name(named), parts.port if "://" in url else None
    except ValueError:
        raise _refused("The address of the repository names no host.") from None


def _local_path(url: str, host: Host) -> Path:
    """The real path behind a local address, if it lies below the folder that the operator named."""
    parts = urlsplit(url)
    path = Path(os.path.realpath(unquote(parts.path) if parts.scheme else url))
    allowed = host.local_repositories and Path(os.path.realpath(host.local_repositories))
    if not allowed or parts.netloc not in ("", "localhost") or not path.is_relative_to(allowed):
        raise _refused("Local repositories may only be used below the folder that the operator's settings name.")
    return path


def _protocol(url: str, host: Host) -> str:
    """The protocol git would use for `url`, if the operator allows it."""
    parts = urlsplit(url)
    if "://" in url:
        protocol = parts.scheme
        if protocol in ("https", "http") and parts.username is not None:
            raise _refused("The address of the repository must not hold a user or password; use the site's token.")
        if not parts.hostname or parts.hostname.startswith("-"):
            raise _refused("The address of the repository names no host.")
    elif _SCP_STYLE.fullmatch(url):
        protocol = "ssh"
    else:
        raise _refused("The address of the repository is none that this worker understands.")
    if protocol == "file" or protocol not in host.allowed_protocols:
        how = (
            f"Use https:// or have the operator set {_SETTINGS[protocol]}."
            if protocol in _SETTINGS
            else "Use https://."
        )
        raise _refused(f"The protocol {protocol} is not allowed on this worker. {how}")
    return protocol


def _basic(credential: str) -> str:
    pair = credential if ":" in credential else f"x-access-token:{credential}"
    return base64.b64encode(pair.encode()).decode()


def _last_line(errors: str) -> str:
    """The line that says most, without git's label."""
    lines = [line for line in errors.splitlines() if line.startswith(("fatal: ", "error: ", "remote: "))]
    fatal = [line for line in lines if line.startswith("fatal: ")]
    chosen = (fatal or lines or errors.splitlines() or ["git gave no reason"])[0]
    return chosen.partition(": ")[2] or chosen


def _broken_rule(errors: str) -> str:
    """Which object breaks which rule of `git fsck`, and what can be done."""
    found = _BROKEN_RULE.search(errors)
    if found is None:
        return f"{_last_line(errors)}. Run git fsck in the repository to find it."
    object_id, rule, reason = found.groups()
    return (
        f"{object_id} breaks the rule {rule} ({reason}). Run git fsck in the repository to see it, and make the history "
        "anew without it, for instance with git filter-repo."
    )


def _refused(message: str) -> EngineError:
    return EngineError("repository_refused", "checkout", message)
