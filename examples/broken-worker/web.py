"""The web part, standard library only: says which release answers."""

from __future__ import annotations

import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

PORT: Final = int(os.environ.get("PORT", "8000"))
RELEASE: Final = os.environ.get("LOCKSTEP_RELEASE", "local")


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"Hello from release {RELEASE}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"web {RELEASE}: listens on {PORT}", flush=True)
    ThreadingHTTPServer(("0.0.0.0", PORT), Page).serve_forever()


if __name__ == "__main__":
    main()
