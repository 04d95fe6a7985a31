"""`python -m workers.agents NAME`: prints as JSON what is missing for an agent on this host, and its key's variable."""

from __future__ import annotations

import argparse
import json

from workers.agents.registry import find_missing, key_of

parser = argparse.ArgumentParser(prog="python -m workers.agents", description=__doc__)
parser.add_argument("name", help="the agent")
name = parser.parse_args().name
print(json.dumps({"missing": find_missing(name), "key": key_of(name)}))
