"""How this machine reaches its package registries, to be passed on to a machine that a test makes.

No registry is named here. What pip and curl use on this machine is looked up: proxies, certificates, indexes.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NAMES = {
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
}


@dataclass(frozen=True)
class Access:
    """Variables of the environment, and the files and folders that they name."""

    variables: dict[str, str]
    paths: tuple[Path, ...]


def find_access() -> Access:
    variables = dict(_configured())
    variables |= {name: value for name, value in os.environ.items() if name.upper() in _NAMES or name[:4] == "PIP_"}
    words = " ".join(variables.values()).split()
    paths = {Path(word) for word in words if word.startswith("/")}
    # The files of an index on this disk lie beside it.
    paths |= {Path(word.removeprefix("file://")).parent for word in words if word.startswith("file:///")}
    return Access(variables, tuple(sorted(path for path in paths - {Path("/")} if path.exists())))


def _configured() -> Iterator[tuple[str, str]]:
    """What pip's files say, as variables: pip takes each of its options from either."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True)
    for line in listed.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section != ":env:":
            yield f"PIP_{option.upper().replace('-', '_')}", " ".join(ast.literal_eval(value).split())
