"""HTTP calls of tests to servers of theirs. They wait as long as a slow machine may take, read no certificates, since that takes
longer than a call, and take no notice of a proxy that the tester uses."""

from __future__ import annotations

import functools
from typing import Any

import httpx

_options: dict[str, Any] = {"timeout": 300.0, "verify": False, "trust_env": False}

get = functools.partial(httpx.get, **_options)
head = functools.partial(httpx.head, **_options)
post = functools.partial(httpx.post, **_options)
put = functools.partial(httpx.put, **_options)
patch = functools.partial(httpx.patch, **_options)
delete = functools.partial(httpx.delete, **_options)
Client = functools.partial(httpx.Client, **_options)
