"""Checks names before they reach git, so that git never sees one that it would refuse or misread."""

from __future__ import annotations

import ipaddress
import re
import socket
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from app.config import settings
from app.errors import invalid

_HEADS = re.compile(r"(refs/)?heads/")
# The rules of git-check-ref-format(1). A test compares them with git itself, which workers use.
_BAD_IN_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|(^|/)\.|\.lock(/|\Z)|/\Z|^/|\.\Z|^-|^HEAD\Z")
_BAD_IN_URL = re.compile(r"[\x00-\x20\x7f]|\$")
_SCP_STYLE = re.compile(r"(?P<host>[\w.-]+@[\w.-]+):(?P<path>[^/:].*)")
_SSH_URL = re.compile(r"ssh://(?P<host>[^/:]+)(:[0-9]*)?/(?P<path>.+)")
_WITHOUT_HTTPS = re.compile(r"(?:git://|http://)?(?P<host>[\w-]+(?:\.[\w-]+)+)/(?P<path>.+)")
_ALLOW_SSH = "SSH needs a deployment with AGENT_RUNNERS_ALLOW_SSH=1, and an ssh:// URL"
_PRIVATE = (
    "is on a private network, which this deployment does not allow; "
    "the operator can allow it with AGENT_RUNNERS_ALLOW_PRIVATE_ADDRESSES"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")


def plain_branch(field: str, name: str) -> str:
    """The name of a branch without `refs/heads/` or `heads/`; raises `Invalid` for a name that git would refuse."""
    plain = without_prefix(name)
    if plain.startswith("refs/"):
        raise invalid(
            field, f"{name!r} is not a branch; use a name without refs/, such as main", error_code="bad_branch"
        )
    if not plain or _BAD_IN_BRANCH.search(plain):
        message = f"{name!r} is not a branch name that git allows; see git help check-ref-format"
        raise invalid(field, message, error_code="bad_branch")
    return plain


def without_prefix(name: str) -> str:
    """The name or pattern of a branch as it is stored and compared: without one leading `refs/heads/` or `heads/`."""
    return _HEADS.sub("", name, count=1) if _HEADS.match(name) else name


def with_plain_branches(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    """`fields` with `plain_branch` applied to the branches in `names`."""
    given = {name: plain_branch(name, fields[name]) for name in names if fields.get(name) is not None}
    return {**fields, **given}


def is_local(url: str) -> bool:
    """Whether a repository address is a path on the worker's machine."""
    return url.startswith(("/", "file://"))


def check_repo_url(url: str, account_id: uuid.UUID) -> None:
    """Refuse a repository address that the operator's settings do not allow. This fetches nothing."""
    hidden = _CONTROL.search(unquote(url))
    if url.startswith("-") or "::" in url.split("/", 1)[0] or _BAD_IN_URL.search(url) or hidden:
        raise _refused("must be a plain repository address, such as https://github.com/example/shop.git")
    if is_local(url):
        _check_local(url, account_id)
        return
    if scp := _SCP_STYLE.fullmatch(url):
        raise _refused(f"must be a URL: {_https_form(scp['host'], scp['path'])}{_or_ssh(scp)}")
    if (ssh := _SSH_URL.fullmatch(url)) and not settings().allow_ssh:
        raise _refused(f"must begin with https://, as in {_https_form(ssh['host'], ssh['path'])}; {_ALLOW_SSH}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _refused("must be a URL, such as https://github.com/example/shop.git") from None
    allowed = {"https", *(("ssh",) if settings().allow_ssh else ()), *(("http",) if settings().allow_http else ())}
    if parts.scheme not in allowed:
        meant = _WITHOUT_HTTPS.fullmatch(url)
        example = f", as in {_https_form(meant['host'], meant['path'])}" if meant else ""
        raise _refused(f"must begin with {' or '.join(f'{scheme}://' for scheme in sorted(allowed))}{example}")
    # ssh needs a user name. Anything else before the host would be a credential in plain text.
    if parts.password is not None or (parts.username is not None and parts.scheme != "ssh"):
        raise _refused("must not contain credentials; use access_token", error_code="credentials_in_url")
    # A worker pins the host name to the address that it checked. With a dot at the end git would resolve it again.
    if (
        not host
        or port == 0
        or host.startswith("-")
        or host.endswith(".")
        or parts.path.strip("/") == ""
        or parts.query
        or parts.fragment
    ):
        raise _refused("must name a host and a repository, and nothing else")
    if ".." in unquote(parts.path).split("/"):
        raise _refused("must not contain .. in its path")
    if not settings().allow_private_addresses and _is_private(host):
        raise _refused(_PRIVATE, error_code="private_address")


def _https_form(host: str, path: str) -> str:
    return f"https://{host.rpartition('@')[2]}/{path}"


def _or_ssh(scp: re.Match[str]) -> str:
    """The same address as an ssh:// URL, or the setting that allows one."""
    return f" or ssh://{scp['host']}/{scp['path']}" if settings().allow_ssh else f"; {_ALLOW_SSH}"


def check_api_url(field: str, url: str) -> None:
    """Refuse a forge's address that the operator's settings do not allow: the access token is sent there."""
    _check_http_url(field, url, "bad_forge_api_url", may_have_query=False)


def check_webhook_url(field: str, url: str) -> None:
    """Refuse an address that the operator's settings do not allow events to be sent to."""
    _check_http_url(field, url, "bad_webhook_url", may_have_query=True)


def _check_http_url(field: str, url: str, error_code: str, *, may_have_query: bool) -> None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise invalid(field, "must be a URL, such as https://api.example.org", error_code=error_code) from None
    allowed = {"https", *(("http",) if settings().allow_http else ())}
    plain = parts.username is None and parts.password is None and not parts.fragment
    plain = plain and (may_have_query or not parts.query)
    if _BAD_IN_URL.search(url) or parts.scheme not in allowed or not host or port == 0 or not plain:
        raise invalid(field, "must be a plain https:// address", error_code=error_code)
    if not settings().allow_private_addresses and _is_private(host):
        raise invalid(field, _PRIVATE, error_code="private_address")


def _check_local(url: str, account_id: uuid.UUID) -> None:
    parent = settings().local_repositories_of(account_id)
    if url.startswith("file://") and not url.startswith("file:///"):
        raise _refused("must be an absolute path")
    path = Path(unquote(url.removeprefix("file://")))
    # The path is resolved, so that neither `..` nor a link leads out of the operator's folder.
    if parent is None or not path.resolve().is_relative_to(parent.resolve()) or path.resolve() == parent.resolve():
        raise _refused(
            "is a local path, which this deployment does not allow; the operator can allow a folder with AGENT_RUNNERS_LOCAL_REPOSITORIES",
            error_code="local_path",
        )


def _is_private(host: str) -> bool:
    """Whether a host is an address that is not global, or has a name that only private networks use.

    This finds at once what needs no DNS lookup, because a request must not wait for a resolver. The check that counts is
    the worker's, of the addresses that a name resolves to (`workers/egress/addresses.py`).
    """
    host = host.rstrip(".").lower()
    if host == "localhost" or ("." not in host and ":" not in host and not _packed(host)):
        return True
    if host.endswith(_PRIVATE_SUFFIXES):
        return True
    try:
        address = ipaddress.ip_address(_packed(host) or host.split("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return not (mapped or address).is_global


def _packed(host: str) -> bytes | None:
    """The four bytes of an IPv4 address in any form that resolvers accept: decimal, octal, hexadecimal, shortened."""
    if not re.fullmatch(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+)){0,3}", host):
        return None
    try:
        return socket.inet_aton(host)
    except OSError:
        return None


def _refused(reason: str, error_code: str = "bad_repo_url") -> Exception:
    return invalid("repo_url", reason, error_code=error_code)
