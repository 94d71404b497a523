"""A container for tests: answers which revision it is; ``?ms=N`` takes N ms; EXIT ends it at once with that code."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """No access log."""

    def do_GET(self) -> None:
        url = urlparse(self.path)
        time.sleep(int(parse_qs(url.query).get("ms", ["0"])[0]) / 1000)
        names = ("K_REVISION", "K_CONFIGURATION", "K_SERVICE", "PORT", "V")
        body = json.dumps({name: os.environ.get(name, "") for name in names}).encode()
        self.send_response(503 if url.path == "/unready" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True


if __name__ == "__main__":
    if code := os.environ.get("EXIT"):
        sys.stderr.write("weights are missing\n")
        sys.exit(int(code))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    Server(("127.0.0.1", int(os.environ["PORT"])), Echo).serve_forever()
