"""Whose certificates the engine trusts where it calls a server by itself."""

from __future__ import annotations

import os
import ssl

import certifi


def trusted() -> ssl.SSLContext:
    """Trusts the authorities in `SSL_CERT_FILE` or `SSL_CERT_DIR` if that is set, else those that browsers trust.

    httpx does the same, but importing it loads the modules of its command line in every session worker. It takes
    a while to read the certificates.
    """
    if file := os.environ.get("SSL_CERT_FILE"):
        return ssl.create_default_context(cafile=file)
    if folder := os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context(capath=folder)
    return ssl.create_default_context(cafile=certifi.where())
