"""The workers' application, whose processes close their files at their end a moment before they are gone."""

from __future__ import annotations

import os
import time
from typing import Any

from celery.signals import worker_process_shutdown

from tasks.celery_app import app

__all__ = ["app"]


@worker_process_shutdown.connect
def linger(**_: Any) -> None:
    os.closerange(3, 4096)
    time.sleep(0.5)
