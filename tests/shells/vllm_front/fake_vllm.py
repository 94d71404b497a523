"""A stand-in for the ``vllm`` program: its routes on a unix socket, words instead of a model, misbehaviour on request.

Run as ``fake_vllm serve FOLDER --uds SOCKET ...`` by ``runtimes.vllm``. The last message decides: ``count N`` streams N
numbers, ``slow N`` takes 50 ms for each, ``die`` kills the process in the middle of the answer, ``status N`` is refused
with N. ``record`` in the model's folder gets one line a request and the reason a stream ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from aiohttp import web

FOLDER = Path(sys.argv[2])
SOCKET = sys.argv[sys.argv.index("--uds") + 1]


def record(line: str) -> None:
    with (FOLDER / "record").open("a") as file:
        file.write(line + "\n")


async def chat(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    record(json.dumps(body))
    verb, _, rest = body["messages"][-1]["content"].partition(" ")
    if verb == "status":
        told = {"message": "the engine's own words", "type": "X", "param": "top_p", "code": int(rest)}
        return web.json_response({"error": told}, status=int(rest))
    if not body.get("stream"):
        if verb == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [
                    {"index": 0, "message": {"role": "assistant", "content": verb}, "finish_reason": "stop"}
                ],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        )
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    try:
        for number in range(int(rest)):
            choice = {"index": 0, "delta": {"content": f"{number} "}, "finish_reason": None}
            event = {
                "id": "chatcmpl-1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": body["model"],
                "choices": [choice],
            }
            data = b"data: " + json.dumps(event).encode() + b"\n\n"
            # In two writes, so that an event arrives in halves.
            await response.write(data[:20])
            await response.write(data[20:])
            if verb == "die" and number == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            if verb == "slow":
                await asyncio.sleep(0.05)
        await response.write(b"data: [DONE]\n\n")
    except (asyncio.CancelledError, ConnectionError):
        record("left")
        raise
    return response


async def fixed(request: web.Request) -> web.Response:
    match request.path:
        case "/openapi.json":
            return web.json_response({"paths": {"/v1/chat/completions": {}, "/sleep": {}}})
        case "/metrics":
            return web.Response(
                text='# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{engine="0"} 0.0\npython_info 1.0\n'
            )
        case _:
            return web.json_response({})


async def main() -> None:
    print("loading", FOLDER, flush=True)
    record(os.environ["VLLM_RPC_BASE_PATH"])
    if (FOLDER / "broken").exists():
        print("ValueError: the weights of this model are made of cheese", flush=True)
        sys.exit(3)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/{tail:.*}", fixed)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.UnixSite(runner, SOCKET).start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    record("stopped")


asyncio.run(main())
