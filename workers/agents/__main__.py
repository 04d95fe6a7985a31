"""`python -m workers.agents NAME`: what is missing for an agent to work here, and its key's variable, as JSON."""

from __future__ import annotations

import argparse
import json

from workers.agents import AGENTS, find_missing

parser = argparse.ArgumentParser(prog="python -m workers.agents", description=__doc__)
parser.add_argument("name", help="the agent")
name = parser.parse_args().name
print(json.dumps({"missing": find_missing(name), "key": AGENTS[name].key if name in AGENTS else None}))
