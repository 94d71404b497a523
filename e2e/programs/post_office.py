"""One HTTP service inside the platform for scenarios about events. In memory, one pod.

POST /send: forwards body and CloudEvents headers to the address in X-Target; answers with that answer's status.
GET /got: what came in, as JSON. POST /fail/...: remembers and answers 500. POST anything else: remembers, 202.
"""

import base64
import http.server
import json
import os
import signal
import threading
import urllib.error
import urllib.request

GOT: list[dict[str, object]] = []
LOCK = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        with LOCK:
            self.answer(200, json.dumps(GOT).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.path == "/send":
            self.answer(self.forward(headers, body), b"")
            return
        with LOCK:
            item: dict[str, object] = {
                "path": self.path,
                "headers": headers,
                "body": base64.b64encode(body).decode(),
            }
            GOT.append(item)
        self.answer(500 if self.path.startswith("/fail") else 202, b"")

    def forward(self, headers: dict[str, str], body: bytes) -> int:
        sent = {name: value for name, value in headers.items() if name.startswith(("ce-", "content-type"))}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(headers["x-target"], body, sent), timeout=30
            ) as got:
                return int(got.status)
        except urllib.error.HTTPError as error:
            return error.code

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
