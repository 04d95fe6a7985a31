"""`python -m app.demo.forge`: serve the demonstration forge until told to stop."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from app.demo.forge.server import DemoForge, Options


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m app.demo.forge", description=sys.modules["__main__"].__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder of the repositories, <owner>/<name>.git")
    parser.add_argument("--port", type=int, default=0, help="port on loopback; without it, any that is free")
    parser.add_argument("--token-file", type=Path, required=True, help="its lines are tokens that may read and write")
    parser.add_argument("--read-only-token-file", type=Path, help="its lines are tokens that may read")
    parser.add_argument("--protect", action="append", default=[], metavar="BRANCH", help="takes no push, only merges")
    parser.add_argument("--no-drafts", action="store_true", help="refuse drafts, as GitHub does on some plans")
    parser.add_argument("--faults", action="store_true", help="let callers order faults, for tests")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    forge = DemoForge(
        Options(
            root=given.root.resolve(),
            port=given.port,
            tokens=given.token_file.read_text().split(),
            read_only_tokens=given.read_only_token_file.read_text().split() if given.read_only_token_file else [],
            protected=given.protect,
            drafts=not given.no_drafts,
            faults=given.faults,
        )
    )
    print(f"The demonstration forge listens at {forge.url}", flush=True)
    try:
        forge.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        forge.server_close()
        forge.store.close()


if __name__ == "__main__":
    main()
