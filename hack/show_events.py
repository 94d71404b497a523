"""A subscriber to look at: prints each CloudEvent that is delivered to http://127.0.0.1:8090/ (or another --port).

config/samples/iris-events.yaml has a Trigger that sends the model's replies there. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import sys

from aiohttp import web


async def show(request: web.Request) -> web.Response:
    """Print the event's attributes and body; answer 202, so that it counts as delivered."""
    for name, value in sorted(request.headers.items()):
        if name.lower().startswith("ce-"):
            print(f"{name.lower()}: {value}")
    print((await request.text())[:10_000], flush=True)
    print(flush=True)
    return web.Response(status=202)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8090)
    port = parser.parse_args().port
    app = web.Application()
    app.router.add_post("/{path:.*}", show)
    try:
        web.run_app(app, host="127.0.0.1", port=port)
    except OSError as error:
        sys.exit(
            f"hack/show_events.py: cannot listen on 127.0.0.1:{port}: {error.strerror}; choose another --port"
        )
