"""What a worker of tests starts in the background, forked from a process that has imported it already.

It imports for more than a second what takes it a tenth of one to do, and each worker that is killed leads to one.
`tests/faults/test_stops.py` has one that is started in earnest.
"""

from __future__ import annotations

import os
import runpy
import signal
import socket
import sys
import traceback
from typing import NoReturn

from tasks import background

_start_in_earnest = background.start_in_background


def fork_in_background() -> None:
    """Have this worker's programs forked from a process beside it. Call it while the worker has opened nothing yet."""
    assert "tasks.recovery.orphans" not in sys.modules, "it has the function that is replaced here"
    requests, served = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if (between := os.fork()) == 0:
        requests.close()
        # A child of nobody, as tests look at the children of a worker.
        if os.fork() == 0:
            _serve(served)
        os._exit(0)
    os.waitpid(between, 0)
    served.close()

    def start(module: str, *, ends_with_us: bool = False) -> None:
        if ends_with_us:
            _start_in_earnest(module, ends_with_us=True)
        else:
            requests.send(module.encode())

    background.start_in_background = start


def _serve(served: socket.socket) -> NoReturn:
    """Fork one program after the other, until the worker and its pool have ended."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while module := served.recv(1000).decode():
        if os.fork() == 0:
            served.close()
            _run(module)
    os._exit(0)


def _run(module: str) -> NoReturn:
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.argv = [module]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
