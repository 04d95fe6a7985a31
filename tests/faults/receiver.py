"""A program that receives webhooks: `python receiver.py FILE HOLD`. It prints its port.

It appends each request to FILE, a line of JSON each, before it answers. It does not answer while HOLD exists.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Receiver(BaseHTTPRequestHandler):
    file: Path
    hold: Path

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        line = json.dumps({"headers": dict(self.headers), "body": body}) + "\n"
        descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)
        while self.hold.exists():
            time.sleep(0.05)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    Receiver.file, Receiver.hold = Path(sys.argv[1]), Path(sys.argv[2])
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
