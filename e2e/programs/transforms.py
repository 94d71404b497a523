"""A transformer as anybody would write one: adds one to every number and asks the predictor, whose host it is told."""

import argparse
import http.server
import json
import os
import signal
import urllib.error
import urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("--model_name")
parser.add_argument("--predictor_host")
OPTIONS, _ = parser.parse_known_args()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        self.answer(200, b"{}")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        rows = [[number + 1 for number in row] for row in body["instances"]]
        url = f"http://{OPTIONS.predictor_host}{self.path}"
        asked = urllib.request.Request(
            url, json.dumps({"instances": rows}).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=60) as got:
                self.answer(200, json.dumps({"transformed": json.load(got)["predictions"]}).encode())
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.read())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
