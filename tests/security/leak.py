"""What an agent does that tells secrets wherever it can: `leak.py FILE`, which holds them so that nobody knows them."""

import base64
import codecs
import json
import os
import sys
from pathlib import Path

SECRETS = [*codecs.decode(Path(sys.argv[1]).read_text(), "rot13").split("\0"), os.environ["MODEL_KEY"]]
FORMS = [*SECRETS, *(base64.b64encode(f"x-access-token:{secret}".encode()).decode() for secret in SECRETS)]
ALL = " ".join(FORMS)


def say(kind: str, **fields: str) -> None:
    print(json.dumps({"type": kind, **fields}), flush=True)


print(ALL, flush=True)
print(ALL, file=sys.stderr, flush=True)
for form in FORMS:
    say("step", title=f"I found {form}", message=f"{form}\n" * 3)
# Wherever the engine cuts, it might leave half of one. Redacted, these are still longer than what it stores.
for before in range(100, 220, 5):
    say("step", title="x" * before + ALL, message="y" * (8 * 1024 - before) + ALL * 80)
say("title", text=f"Found {ALL}")
say("result", text=f"{ALL}\n\nand {ALL}")
Path("found.txt").write_text("\n".join(FORMS))
Path("found.bin").write_bytes(b"\0\1" + ALL.encode())
Path("found.wide").write_text(ALL, encoding="utf-16")
if "fail" in sys.argv:
    sys.exit(ALL)
