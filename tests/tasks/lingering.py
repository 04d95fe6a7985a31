"""A session worker whose processes, at their end, close their files a while before they are gone.

python -m tests.tasks.lingering FILE: until the file exists, and half a second more.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from celery.signals import worker_process_shutdown

from tests.background import fork_in_background


@worker_process_shutdown.connect
def linger(**_: Any) -> None:
    os.closerange(3, 4096)
    while not Path(sys.argv[1]).exists():
        time.sleep(0.05)
    time.sleep(0.5)


if __name__ == "__main__":
    # Before the worker imports what starts something in the background.
    fork_in_background()
    from tasks.worker import main

    sys.exit(main("sessions", "lingering"))
