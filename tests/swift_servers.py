"""Swift's servers, forked from one process that imports them once: `python swift_servers.py FOLDER NAME=PORT ...`.

Each server then does what its own program `swift-NAME-server` does. Rings that are not there yet are made, as by
`swift-ring-builder`. These programs would import the same thirteen times, which takes ten times as long as what they do.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from swift.common.ring import RingBuilder
from swift.common.wsgi import run_wsgi
from swift.obj.server import global_conf_callback


def main(folder: Path, ports: dict[str, int]) -> None:
    # Of Swift, by newer Pythons.
    warnings.simplefilter("ignore")
    for name, port in ports.items():
        if name != "proxy":
            _make_ring(folder / f"{name}.ring.gz", port)
    servers = [_fork(folder, name) for name in ports]
    for server in servers:
        os.waitpid(server, 0)


def _make_ring(path: Path, port: int) -> None:
    """Keep everything on the one device there is."""
    if not path.exists():
        builder = RingBuilder(part_power=4, replicas=1, min_part_hours=1)
        builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d1", "weight": 1})
        builder.rebalance()
        builder.get_ring().save(str(path))


def _fork(folder: Path, name: str) -> int:
    if pid := os.fork():
        return pid
    options = {"global_conf_callback": global_conf_callback} if name == "object" else {}
    sys.exit(run_wsgi(str(folder / f"{name}-server.conf"), f"{name}-server", **options))


if __name__ == "__main__":
    main(Path(sys.argv[1]), {name: int(port) for name, port in (each.split("=") for each in sys.argv[2:])})
