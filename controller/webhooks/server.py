"""The HTTPS server of the webhooks, at KServe's paths.

Started by ``__main__``; the API server calls it through the WebhookConfigurations. Invariant: a body over the limit,
or one that is no AdmissionReview, is answered with 4xx and never evaluated; a failure of our own is answered 500 (the
API server then applies the failurePolicy) and logged.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from controller.webhooks import reviews
from controller.webhooks.reviews import Review, Reviewer, Verdict
from wakeful.kit import logs
from wakeful.kit.httpserver import ListenError

BODY_LIMIT_BYTES = 8 * 1024 * 1024
"""An object may have 1.5 MiB in etcd; a review holds it twice, plus JSON overhead."""
SHUTDOWN_S = 2.0

PREFIX = "-serving-kserve-io-v1"
ReviewFunction = Callable[[Review], Awaitable[Verdict]]

_CLOSING = web.AppKey("closing", asyncio.Event)

log = logs.get("controller.webhooks")


def build_app(reviewer: Reviewer, stands_aside: Callable[[], str] = lambda: "") -> web.Application:
    """The application with its paths. While ``stands_aside`` gives a reason, everything is let through unchanged."""
    app = web.Application(client_max_size=BODY_LIMIT_BYTES)
    app[_CLOSING] = asyncio.Event()

    def reviewing(function: ReviewFunction) -> ReviewFunction:
        async def review(asked: Review) -> Verdict:
            why = stands_aside()
            return Verdict(warnings=[f"Wakeful stands aside: {why}"]) if why else await function(asked)

        return review

    routes: dict[str, ReviewFunction] = {
        f"/mutate{PREFIX}beta1-inferenceservice": reviewer.default_isvc,
        f"/validate{PREFIX}beta1-inferenceservice": reviewer.validate_isvc,
        f"/validate{PREFIX}alpha1-servingruntime": reviewer.validate_runtime,
        f"/validate{PREFIX}alpha1-clusterservingruntime": reviewer.validate_runtime,
        "/mutate-pods": reviewer.mutate_pod,
    }
    for path, function in routes.items():
        app.router.add_post(path, _handler(reviewing(function)))
    return app


async def end(runner: web.AppRunner, linger_s: float) -> None:
    """Answer for ``linger_s`` more, closing each connection after its answer, then close all."""
    if runner.app is not None and linger_s > 0:
        runner.app[_CLOSING].set()
        await asyncio.sleep(linger_s)
    await runner.cleanup()


async def start(
    app: web.Application, listen: str, context: ssl.SSLContext, descriptors: Sequence[int] = ()
) -> web.AppRunner:
    """Serve on ``tcp:HOST:PORT``, or on the listening sockets ``descriptors``, which keep callers waiting in a restart.

    The caller ends it with ``cleanup``. Raises ``ListenError``.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    host, _, port = listen.removeprefix("tcp:").rpartition(":")
    try:
        for number in descriptors:
            await web.SockSite(runner, socket.socket(fileno=number), ssl_context=context).start()
        if not descriptors:
            await web.TCPSite(runner, host, int(port), ssl_context=context).start()
    except (OSError, ValueError) as error:
        await runner.cleanup()
        raise ListenError(
            f"cannot listen on {listen} for webhooks: {error}; choose another --webhook-listen"
        ) from error
    return runner


def _handler(function: ReviewFunction) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            review = reviews.decode(json.loads(await request.read()))
        except (ValueError, RecursionError) as error:
            return web.json_response({"error": f"not an AdmissionReview: {error}"}, status=400)
        try:
            verdict = await function(review)
            answer = reviews.encode(review, verdict)
        except Exception as error:  # one bad object must not end the server; the API server is told
            log.error("review failed", path=request.path, error=repr(error))
            return web.json_response({"error": f"the review failed: {error!r}"}, status=500)
        if verdict.refusal is not None:
            log.info("refused", path=request.path, namespace=review.namespace, why=verdict.refusal)
        response = web.json_response(answer)
        if request.app[_CLOSING].is_set():
            response.force_close()  # the caller's next connection goes to a replica that stays
        return response

    return handle
