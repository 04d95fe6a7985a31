"""A session worker whose processes, at their end, close their files a while before they are gone."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from celery.signals import worker_process_shutdown

from tasks.worker import main


@worker_process_shutdown.connect
def linger(**_: Any) -> None:
    os.closerange(3, 4096)
    time.sleep(float(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main("sessions", "lingering"))
