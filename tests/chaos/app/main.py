"""The app of the chaos tests: `main.py web` and `main.py worker`; each notes its own start and stop on disk.

Web ends at once on SIGTERM, as the worst of real ones do: nothing of its own saves a request.
"""

import http.server
import json
import os
import signal
import socket
import sys
import time
import urllib.parse
from pathlib import Path

FOLDER = Path("records")
STEP = 0.1  # seconds between two pieces of a slow answer
ME = {
    "process": os.environ["LOCKSTEP_PROCESS"],
    "release": int(os.environ["LOCKSTEP_RELEASE"].removeprefix("v")),
    "host": socket.gethostname(),
}


def note(event: str) -> None:
    """Append one line; every process of the app writes to the same file."""
    line = json.dumps({**ME, "event": event, "at": time.time_ns()}) + "\n"
    sys.stdout.write(line)
    sys.stdout.flush()
    if not FOLDER.is_dir():
        return
    handle = os.open(FOLDER / "record", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(handle, line.encode())
        os.fsync(handle)
    finally:
        os.close(handle)


def stop(*_: object) -> None:
    note("stop")
    os._exit(0)


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet

    def do_GET(self) -> None:
        at = time.time_ns()
        path, _, query = self.path.partition("?")
        if path == "/slow":
            self.slow(float(urllib.parse.parse_qs(query)["seconds"][0]))
        elif path == "/socket":
            self.socket()
        elif path == "/record":
            self.answer((FOLDER / "record").read_bytes())
        else:
            self.answer(json.dumps({**ME, "at": at}).encode())

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def slow(self, seconds: float) -> None:
        """Pieces of an answer over some seconds; only a whole one ends with `done`."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(int(seconds / STEP)):
            self.piece(f"v{ME['release']}\n".encode())
            time.sleep(STEP)
        self.piece(b"done\n")
        self.piece(b"")

    def socket(self) -> None:
        """A connection that is no longer HTTP, as a WebSocket is: each line comes back behind the release."""
        self.close_connection = True
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.end_headers()
        self.wfile.flush()
        while line := self.rfile.readline():
            self.wfile.write(f"v{ME['release']} ".encode() + line)
            self.wfile.flush()

    def piece(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """The tests read what it notes, not what it serves."""


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True


def main() -> None:
    signal.signal(signal.SIGTERM, stop)
    if sys.argv[1] == "web":
        time.sleep(float(os.environ.get("START_DELAY", "0")))
        server = Server(("", int(os.environ["PORT"])), Page)
        note("start")
        server.serve_forever()
    note("start")
    while True:
        signal.pause()


main()
