"""`python -m workers.sandbox --work-dir DIR`: whether the sandbox works on this machine, as one line of JSON."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from workers.job import Host
from workers.sandbox import probe

parser = argparse.ArgumentParser(prog="python -m workers.sandbox", description=__doc__)
parser.add_argument("--work-dir", type=Path, required=True, help="folder of the workspaces")
parser.add_argument("--uid", type=int, default=Host.sandbox_uid, help="user that agents run as, where we are root")
args = parser.parse_args()
print(json.dumps(dataclasses.asdict(probe(Host(work_dir=args.work_dir, sandbox_uid=args.uid)))))
