"""`python -m workers.sandbox --work-dir DIR`: print as one line of JSON whether the sandbox works on this machine."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from workers.job import Host
from workers.sandbox import probe

parser = argparse.ArgumentParser(prog="python -m workers.sandbox", description=__doc__)
parser.add_argument("--work-dir", type=Path, required=True, help="folder of the workspaces")
parser.add_argument("--uid", type=int, default=Host.sandbox_uid, help="uid that agents run as if this runs as root")
args = parser.parse_args()
print(json.dumps(dataclasses.asdict(probe(Host(work_dir=args.work_dir, sandbox_uid=args.uid)))))
