"""A remote repository: whether it may be fetched from, with which credential, and what its errors mean."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from workers.egress.rules import is_address
from workers.errors import EngineError
from workers.job import Credential, Host
from workers.repository.access import Access
from workers.repository.git import GitFailed
from workers.repository.host_check import ANSWER_SECONDS, answers, find_addresses, proxy_for
from workers.repository.object_format import ID
from workers.repository.remote_url import (
    ascii_url,
    host_and_port,
    local_path,
    ports_to,
    protocol_of,
    refused,
    ssh_target,
)

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
# Isolated git may not write the boundary of a shallow repository.
_SHALLOW = re.compile(r"/shallow[._]\w+': permission denied")
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
            raise refused(
                "The repository URL is empty or contains characters that are not allowed. Correct the site's repo_url."
            )
        self._host = host
        self.is_local = url.startswith(("/", "file://"))
        self._protocol = "file" if self.is_local else protocol_of(url, host)
        self.url = str(local_path(url, host)) if self.is_local else ascii_url(url)
        self.is_http = self._protocol in ("https", "http")

    @functools.cached_property
    def access(self) -> Access:
        """What a command that connects to this repository may reach. Its host is resolved once and pinned.

        Raises EngineError, see `find_addresses`.
        """
        if self.is_local:
            return Access(("file",))
        name, port = host_and_port(self.url)
        target = () if self.is_http else ssh_target(self.url, name, port)
        access = Access((self._protocol,), ssh_target=target, isolated=self._host.isolate_git)
        proxy = None if is_address(name) else proxy_for(self._protocol, name)
        if proxy:
            # Passed explicitly, so that git uses the proxy that was decided on here.
            config = (*self._authorization(), ("http.proxy", proxy))
            return replace(access, config=config, ports=ports_to(proxy) if self.is_http else ())
        addresses = self._addresses
        if self._protocol == "ssh":
            # The host key is checked against the name, not the address.
            alias = name if port in (None, 22) else f"[{name}]:{port}"
            return replace(access, ssh_options=(f"HostName={addresses[0]}", f"HostKeyAlias={alias}"))
        port = port or (443 if self._protocol == "https" else 80)
        # Git 2.37 introduced this setting; older versions resolve the name again.
        pin = ("http.curloptResolve", f"{name}:{port}:{','.join(addresses)}")
        config = (*self._authorization(), *(() if is_address(name) else (pin,)))
        return replace(access, config=config, ports=(port,))

    @functools.cached_property
    def _addresses(self) -> list[str]:
        return find_addresses(host_and_port(self.url)[0], self._host)

    def check_answers(self) -> None:
        """Raise EngineError `repository_unreachable` if the server does not answer in time. Other failures are left to git.

        Git waits five minutes for a connection, and no setting of it makes that shorter. Ssh has its own.
        """
        if not self.is_http or ("http.proxy" in dict(self.access.config)):
            return
        name, port = host_and_port(self.url)
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
        if _SHALLOW.search(text):
            return refused(
                "The repository is a shallow clone. Run git fetch --unshallow in it, or ask the operator to set "
                "AGENT_RUNNERS_ISOLATE_GIT=0."
            )
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
            return refused("The protocol of the repository URL is not allowed on this worker. Use https://.")
        if any(phrase in text for phrase in _OTHER_FORMAT):
            message = (
                "The repository has another object format (SHA-1 or SHA-256) than when work on it began. Create a new "
                "site for it."
            )
            return EngineError("object_format_changed", "checkout", message)
        if "fsck error" in text or "fsckobjects" in text:
            return refused(
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
