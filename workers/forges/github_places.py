"""Where a repository is on GitHub, and where the API of that GitHub is."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from workers.forges.places import location, no_repository

_PATH = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def parse(repo_url: str) -> tuple[str, str]:
    """`owner/name` and the default URL of the API, from an https or ssh clone URL.

    The API of an Enterprise server is below `/api/v3`:
    https://docs.github.com/en/enterprise-server/rest/enterprise-admin. Raises EngineError `forge_refused`.
    """
    server, full_name = location(repo_url)
    if not _PATH.fullmatch(full_name):
        raise no_repository("https://github.com/owner/name")
    if urlsplit(server).netloc.lower() in ("github.com", "www.github.com", "ssh.github.com"):
        return full_name, "https://api.github.com"
    return full_name, f"{server}/api/v3"
