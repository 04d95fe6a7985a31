"""Where a site's repository is on its forge, and where the API of that forge is."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from workers.errors import EngineError

_SCP = re.compile(r"(?:[\w.-]+@)?(?P<host>[\w.-]+):(?P<path>[^/].*)", re.ASCII)


def location(repo_url: str) -> tuple[str, str]:
    """The server's URL, `https://host`, and the path of the repository on it, from an https or ssh clone URL.

    The path has neither slashes at its ends nor `.git`. Raises EngineError `forge_refused`.
    """
    scp = _SCP.fullmatch(repo_url) if "://" not in repo_url else None
    if scp:
        scheme, host, path = "ssh", scp["host"], scp["path"]
    else:
        parts = urlsplit(repo_url)
        # The port of ssh is not that of the API, and a user name is not part of the host.
        host = parts.netloc.rpartition("@")[2] if parts.scheme in ("http", "https") else parts.hostname or ""
        scheme, path = parts.scheme, parts.path
    path = unquote(path).strip("/").removesuffix(".git").rstrip("/")
    if scheme not in ("http", "https", "ssh") or not host or not path:
        raise no_repository("https://host/owner/name")
    return f"{'http' if scheme == 'http' else 'https'}://{host}", path


def api_and_path(repo_url: str, api_url: str | None, api_path: str) -> tuple[str, str]:
    """The URL of the API, which ends with `api_path`, and the path of the repository on the forge.

    A forge that is served below a path of its server needs an `api_url`: with `https://host/forge/api/v4` or
    `https://host/forge` the repository at `https://host/forge/owner/name` has the path `owner/name`.
    """
    server, path = location(repo_url)
    root = (api_url or server).rstrip("/").removesuffix(api_path)
    return root + api_path, path.removeprefix(urlsplit(root).path.lstrip("/") + "/")


def check_api_url(api_url: str, token: str, permission: str) -> None:
    """Raise EngineError unless `api_url` is a plain URL and there is a token; `permission` names what that needs."""
    if not re.match(r"https?://[^/\s@]+(/|$)", api_url):
        message = "The site's forge_api_url must be an http:// or https:// URL without a user name."
        raise EngineError("forge_refused", "publish", message)
    if not token:
        message = f"The site has no access token, and pull requests need one. {permission}"
        raise EngineError("forge_auth", "publish", message)


def no_repository(example: str) -> EngineError:
    """The site's URL does not name a repository of the forge."""
    message = f"The site's repo_url has no owner and repository. Set it to a URL like {example}."
    return EngineError("forge_refused", "publish", message)
