"""A remote repository: whether it may be fetched from, with which credential, and what its errors mean."""

from __future__ import annotations

import base64
import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from workers.egress.rules import is_address
from workers.errors import EngineError
from workers.job import Credential, Host
from workers.repository.git import Access, GitFailed
from workers.repository.host_check import ANSWER_SECONDS, answers, ascii_name, find_addresses, proxy_for
from workers.repository.object_format import ID

_SETTINGS = {"ssh": "AGENT_RUNNERS_ALLOW_SSH", "http": "AGENT_RUNNERS_ALLOW_HTTP"}
_SCP_STYLE = re.compile(r"(?:[\w.-]+@)?[\w.-]+:(?!:)[^:]+")
_HOST = re.compile(r"([a-z]+://)?([^/@]*@)?(?P<host>[^/@:]+)")
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
# How a credential begins that is sent as it is.
_BEARER = "Bearer "
_REDIRECT = re.compile(r"returned error: 30\d|redirect", re.IGNORECASE)
_BROKEN_RULE = re.compile(rf"^error: object ({ID}): (\w+): (.*)$", re.MULTILINE)
# The words of protocol version 2, of older ones, and of a push.
_OTHER_FORMAT = ("mismatched algorithms", "support this repository's object format", "repository's hash algorithm")
_MISSING = ("not found", "does not appear to be a git repository", "does not exist")


class Remote:
    """One repository URL, checked. Raises EngineError `repository_refused` if this host may not fetch from it.

    The API checks URLs too. They are checked again here, because settings may have changed since then.
    """

    def __init__(self, url: str, credential: Credential | None, host: Host) -> None:
        self._credential = credential
        self._secret = credential if isinstance(credential, str) else None
        if not url or url.startswith("-") or re.search(r"[\x00-\x20\x7f]", url):
            raise _refused(
                "The repository URL is empty or contains characters that are not allowed. Correct the site's repo_url."
            )
        self._host = host
        self.is_local = url.startswith(("/", "file://"))
        self._protocol = "file" if self.is_local else _protocol(url, host)
        self.url = str(_local_path(url, host)) if self.is_local else _ascii_url(url)
        self.is_http = self._protocol in ("https", "http")

    @functools.cached_property
    def access(self) -> Access:
        """What a command that connects to this repository may reach. Its host is resolved once and pinned.

        Raises EngineError, see `find_addresses`.
        """
        if self.is_local:
            return Access(("file",))
        name, port = _host_and_port(self.url)
        proxy = None if is_address(name) else proxy_for(self._protocol, name)
        if proxy:
            # Passed explicitly, so that git uses the proxy that was decided on here.
            return Access((self._protocol,), (*self._authorization(), ("http.proxy", proxy)))
        addresses = self._addresses
        if self._protocol == "ssh":
            # The host key is checked against the name, not the address.
            alias = name if port in (None, 22) else f"[{name}]:{port}"
            return Access(("ssh",), ssh_options=(f"HostName={addresses[0]}", f"HostKeyAlias={alias}"))
        port = port or (443 if self._protocol == "https" else 80)
        # Git 2.37 introduced this setting; older versions resolve the name again.
        pin = ("http.curloptResolve", f"{name}:{port}:{','.join(addresses)}")
        return Access((self._protocol,), (*self._authorization(), *(() if is_address(name) else (pin,))))

    @functools.cached_property
    def _addresses(self) -> list[str]:
        return find_addresses(_host_and_port(self.url)[0], self._host)

    def check_answers(self) -> None:
        """Raise EngineError `repository_unreachable` if the server does not answer in time. Other failures are left to git.

        Git waits five minutes for a connection, and no setting of it makes that shorter. Ssh has its own.
        """
        if not self.is_http or ("http.proxy" in dict(self.access.config)):
            return
        name, port = _host_and_port(self.url)
        is_encrypted = self._protocol == "https"
        if not answers(name, self._addresses, port or (443 if is_encrypted else 80), is_encrypted):
            message = (
                f"{name} did not answer within {ANSWER_SECONDS:g} seconds. Check the site's repo_url, and try again."
            )
            raise EngineError("repository_unreachable", "checkout", message, retryable=True)

    @property
    def options(self) -> list[str]:
        """Options of `git fetch` and `git ls-remote` that this repository needs."""
        # The operator chose the folder, so the owner of the repository does not matter. Configuration in the
        # environment does not reach the git process that serves a local repository.
        return ["--upload-pack=git -c safe.directory=* upload-pack"] if self.is_local else []

    def translate(self, failed: GitFailed) -> EngineError:
        """The failure of a command that connected to this repository, as an error that a person can act on."""
        errors = self.scrub(failed.errors)
        text = errors.lower()
        if any(phrase in text for phrase in _AUTH):
            if callable(self._credential):
                how = "The token of the GitHub App was rejected. Try again, or set an access_token of the site."
            elif self._credential:
                how = "The site's access token was rejected. Replace it with one that may read the repository."
            else:
                how = "It requires an access token, and the site has none. Set the site's access_token."
            return EngineError("repository_auth", "checkout", f"The repository could not be read. {how}")
        if "couldn't find remote ref" in text:
            return EngineError("branch_not_found", "checkout", "The repository has no such branch.")
        if "not our ref" in text or "unadvertised object" in text:
            return EngineError(
                "base_gone",
                "checkout",
                "The repository no longer has that commit. It may have been removed by a force push.",
            )
        if "' not allowed" in text:
            return _refused("The protocol of the repository URL is not allowed on this worker. Use https://.")
        if any(phrase in text for phrase in _OTHER_FORMAT):
            message = (
                "The repository has another object format (SHA-1 or SHA-256) than when work on it began. Create a new "
                "site for it."
            )
            return EngineError("object_format_changed", "checkout", message)
        if "fsck error" in text or "fsckobjects" in text:
            return _refused(
                f"The repository contains an object that git considers damaged or unsafe: {_broken_rule(errors)}"
            )
        if _REDIRECT.search(text):
            message = (
                "The repository URL answers with a redirect. Set the site's repo_url to the address it redirects to."
            )
            return EngineError("repository_unreachable", "checkout", message)
        is_missing = any(phrase in text for phrase in _MISSING)
        message = f"The repository could not be reached: {_main_line(errors)}"
        return EngineError("repository_unreachable", "checkout", message, retryable=not is_missing)

    def scrub(self, text: str) -> str:
        """`text` without the credential in any form, and without the user part of any URL."""
        if self._secret:
            token = self._secret.removeprefix(_BEARER)
            for secret in (_basic(self._secret), self._secret, token, token.partition(":")[2]):
                text = text.replace(secret, "***") if secret else text
        return _USERINFO.sub("", text)

    def _authorization(self) -> tuple[tuple[str, str], ...]:
        """The header with the credential, for requests to this server."""
        value = self.authorization
        if value is None:
            return ()
        parts = urlsplit(self.url)
        return ((f"http.{parts.scheme}://{parts.netloc}/.extraHeader", f"Authorization: {value}"),)

    @property
    def authorization(self) -> str | None:
        """The header `Authorization` for a repository over HTTP: of `user:password`, of a token, which most forges accept
        with any user name, or `Bearer token`. None without a credential. Raises EngineError of a credential that is made."""
        if not self._credential or not self.is_http:
            return None
        if callable(self._credential):
            self._secret = _made(self._credential)
        secret = self._secret or ""
        return secret if secret.startswith(_BEARER) else f"Basic {_basic(secret)}"


def public_url(url: str) -> str | None:
    """The URL as an agent may see it, without a user or password; None for a path on the worker."""
    if url.startswith(("/", "file://")):
        return None
    return url if url.startswith("ssh://") else _USERINFO.sub("", url)


def _host_and_port(url: str) -> tuple[str, int | None]:
    """The host of a remote URL, and the port if it has one. Raises EngineError `repository_refused`."""
    try:
        parts = urlsplit(url)
        named = (parts.hostname if "://" in url else url.partition(":")[0].rpartition("@")[2]) or ""
        port = parts.port if "://" in url else None
        if port == 0:
            # Git connects to the protocol's own port then, which is not the one that is pinned.
            raise _refused("The port in the repository URL must not be 0. Correct the site's repo_url.")
        if named.endswith("."):
            # Only the name without the dot is pinned, so git would resolve this one again.
            raise _refused("The host name in the repository URL must not end in a dot. Remove the dot.")
        return ascii_name(named), port
    except ValueError:
        raise _refused("The repository URL has no host. Correct the site's repo_url.") from None


def _ascii_url(url: str) -> str:
    """The URL with the ASCII form of its host, which is the one that is pinned. Git would convert it by other rules.

    Raises EngineError `repository_refused`.
    """
    name, _ = _host_and_port(url)
    found = _HOST.match(url)
    if found is None or found["host"].isascii():
        return url
    return f"{url[: found.start('host')]}{name}{url[found.end('host') :]}"


def _local_path(url: str, host: Host) -> Path:
    """The real path of a local repository, if it is below the folder that the operator's settings name."""
    parts = urlsplit(url)
    path = Path(os.path.realpath(unquote(parts.path) if parts.scheme else url))
    allowed = host.local_repositories and Path(os.path.realpath(host.local_repositories))
    if not allowed or parts.netloc not in ("", "localhost") or not path.is_relative_to(allowed):
        raise _refused(
            "Local repositories are allowed only below AGENT_RUNNERS_LOCAL_REPOSITORIES, which the operator sets."
        )
    return path


def _protocol(url: str, host: Host) -> str:
    """The protocol of `url`, if the operator allows it. Raises EngineError `repository_refused`."""
    parts = urlsplit(url)
    if "://" in url:
        protocol = parts.scheme
        if protocol in ("https", "http") and parts.username is not None:
            raise _refused("The repository URL must not contain a user or password. Use the site's access_token.")
        if not parts.hostname or parts.hostname.startswith("-"):
            raise _refused("The repository URL has no host. Correct the site's repo_url.")
    elif _SCP_STYLE.fullmatch(url):
        protocol = "ssh"
    else:
        raise _refused("The repository URL has a form that is not supported. Use https://host/path.")
    if protocol == "file" or protocol not in host.allowed_protocols:
        how = (
            f"Use https://, or ask the operator to set {_SETTINGS[protocol]}."
            if protocol in _SETTINGS
            else "Use https://."
        )
        raise _refused(f"The protocol {protocol} is not allowed on this worker. {how}")
    return protocol


def _made(make: Callable[[], str]) -> str:
    """The credential of a function that makes one, which raises its errors for any stage."""
    try:
        return make()
    except EngineError as error:
        raise EngineError(error.code, "checkout", error.message, retryable=error.retryable) from None


def _basic(credential: str) -> str:
    pair = credential if ":" in credential else f"x-access-token:{credential}"
    return base64.b64encode(pair.encode()).decode()


def _main_line(errors: str) -> str:
    """The most informative line of git's errors, without its label."""
    lines = [line for line in errors.splitlines() if line.startswith(("fatal: ", "error: ", "remote: "))]
    fatal = [line for line in lines if line.startswith("fatal: ")]
    chosen = (fatal or lines or errors.splitlines() or ["git gave no reason"])[0]
    return chosen.partition(": ")[2] or chosen


def _broken_rule(errors: str) -> str:
    """Which object breaks which rule of `git fsck`, and what can be done."""
    found = _BROKEN_RULE.search(errors)
    if found is None:
        return f"{_main_line(errors)}. Run git fsck in the repository to find it."
    object_id, rule, reason = found.groups()
    return (
        f"{object_id} breaks the rule {rule} ({reason}). Run git fsck in the repository to see it, and rewrite the "
        "history without it, for example with git filter-repo."
    )


def _refused(message: str) -> EngineError:
    return EngineError("repository_refused", "checkout", message)
