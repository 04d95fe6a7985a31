"""Flower, except that its metrics need its password too, and that no other page may show it in a frame."""

from __future__ import annotations

import sys
from typing import Any

from celery.bin.celery import main
from flower import app, command
from flower.views import monitor
from tornado.httputil import HTTPHeaders
from tornado.web import OutputTransform, authenticated


class Metrics(monitor.Metrics):
    get = authenticated(monitor.Metrics.get)


class NoFrames(OutputTransform):
    """Adds headers to every answer."""

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        headers["X-Frame-Options"] = "DENY"
        headers["Content-Security-Policy"] = "frame-ancestors 'none'"
        return status_code, headers, chunk


class Flower(app.Flower):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Handlers that are added later come first.
        self.add_handlers(r".*", [(r"/metrics", Metrics)])
        self.add_transform(NoFrames)


if __name__ == "__main__":
    # The command of Celery that Flower adds makes one of this class.
    command.Flower = Flower
    sys.argv[1:1] = ["--app", "tasks.celery_app", "flower"]
    main()
