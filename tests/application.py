"""The web application, which one process of tests makes once: routes and schemas of that many operations take half a second."""

from __future__ import annotations

import functools

from flask import Flask

from app.web import create_app


@functools.cache
def application() -> Flask:
    """It reads its settings with each request, but those of CORS, and uses the database that `app.db` is pointed at then."""
    return create_app()
