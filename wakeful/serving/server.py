"""Load the models, listen, serve, drain: the composition of one model server.

``serve(models, argv)`` is what a runtime's ``main`` and a user's script call; ``Server`` is the same without a process
around it, for tests. Importing this module imports everything the path from ``main`` to listening needs, so that a
fork server that has it loaded starts a model in milliseconds.

Invariants: the port answers only after every model is loaded; after SIGTERM readiness fails first, requests in flight
and on their way are answered (bounded by ``drain_s``), and the process ends even when model code is stuck. A failed start ends with status 1
and one sentence as the last line on stderr (it becomes the container's termination message).
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wakeful.kit import lifecycle, listening, logs, termination
from wakeful.kit.http2.connection import Opener
from wakeful.serving import http_body, http_events, observers, settings, startup
from wakeful.serving.dataplane import DataPlane
from wakeful.serving.exchange import Handler
from wakeful.serving.http_edge import Edge
from wakeful.serving.metrics import Metrics, Refusal
from wakeful.serving.model import LoadError, Model
from wakeful.serving.parts import Joining
from wakeful.serving.pool import Pool
from wakeful.serving.registry import Registry
from wakeful.serving.settings import S, Settings
from wakeful.serving.wire.connections import Connections, Wire
from wakeful.serving.wire.http2 import Http2
from wakeful.serving.wire.limits import Limits
from wakeful.serving.wire.port import Port

if TYPE_CHECKING:
    from wakeful.serving.worker import Worker

EXIT_FAILED = 1
EXIT_USAGE = 2

log = logs.get("serving")


class Server:
    """One model server in this process."""

    def __init__(self, models: Sequence[Model], options: Settings, environ: Mapping[str, str]) -> None:
        self.registry = Registry(models)
        self.registry.drain_s = options.drain_s
        self.startup = startup.Startup(startup.started_at(environ))
        self.pool = Pool(options.max_threads, options.max_queue)
        self._options = options
        metrics = Metrics()
        plane = DataPlane(self.registry, self.pool, metrics, options.request_timeout_s, _joining(options))
        naming = http_events.naming(environ)
        self.edge = Edge(plane, self.startup, naming, options.enable_repository, options.max_concurrency)
        budget = http_body.Budget(options.max_buffered_bytes)
        self._observers = observers.build(options, environ, metrics.registry)
        handler: Handler = self.edge
        if options.response_cache_bytes:
            from wakeful.serving.response_cache import ResponseCache

            handler = ResponseCache(self.edge, plane, options.response_cache_bytes)
        self.connections = Connections(self._observers.around(handler), _limits(options), budget)
        metrics.count_refusals(Refusal.CONCURRENCY, lambda: self.edge.flights.rejected)
        metrics.count_refusals(Refusal.MEMORY, lambda: budget.rejected)
        metrics.count_refusals(Refusal.CONNECTIONS, lambda: self.connections.refused)
        self._metrics = metrics
        self._ports = _ports(options, environ)
        self._wires = [Port(self.connections, http2=self._http2) for _ in self._ports]
        self._grpc: Opener | None = None
        self._predictor = _predictor(models, options)
        self.registry.follows_predictor = options.enable_predictor_health_check
        self._port: int | None = None

    def _http2(self, shared: Connections) -> Wire:
        return Http2(shared, self._open_grpc if self._options.enable_grpc else None)

    def _open_grpc(self) -> Opener:
        """The gRPC edge, made with the first call of it."""
        if self._grpc is None:
            from wakeful.serving import grpc_compose, grpc_server

            options = self._options
            limits = grpc_server.Limits(
                options.grpc_max_receive_message_length, options.grpc_max_send_message_length
            )
            self._grpc = grpc_compose.opener(self.edge, self.startup, self.connections, limits)
        return self._grpc

    async def load(self, but: frozenset[str] = frozenset()) -> None:
        """Load every model ``but`` some. Raises ``LoadError``."""
        self.startup.loading()
        if self._predictor is not None:
            self._predictor.open()
        for name in self.registry.names():
            if name not in but:
                await self.registry.load(name)
        self.startup.loaded()
        self._metrics.import_s.set(self.startup.import_ms / 1000)
        self._metrics.load_s.set(self.startup.load_ms / 1000)

    async def listen(self, sockets: Sequence[socket.socket] = ()) -> None:
        """Accept connections, on ``sockets`` where they were bound before. Raises ``listening.ListenError``."""
        await self._observers.start()
        given: Sequence[socket.socket | None] = sockets or [None] * len(self._ports)
        numbers = [
            await wire.listen(self._options.http_address, port, bound)
            for wire, port, bound in zip(self._wires, self._ports, given, strict=True)
        ]
        self._port = numbers[0]

    @property
    def port(self) -> int:
        """The port it listens on (useful after ``http_port=0``)."""
        if self._port is None:
            raise RuntimeError("the server does not listen")
        return self._port

    def report(self) -> list[Any]:
        """This process's metrics, for the page of several workers."""
        from wakeful.serving import worker_pages

        self._metrics.in_flight.set(self.edge.flights.count)
        return worker_pages.report(self._metrics.registry)

    async def drain(self) -> bool:
        """Fail readiness, serve what still comes until a moment without any, close. True if all of it ended.

        Whoever sends to this server hears of its end a little later than the server does; closing the port at once
        would reset requests on their way. At most ``drain_s``.
        """
        self.startup.is_draining = self.connections.is_draining = True
        try:
            async with asyncio.timeout(self._options.drain_s):
                await self.edge.flights.quiet(self._options.drain_quiet_s)
            has_ended = True
        except TimeoutError:
            has_ended = False
            log.warning("drain ended early", in_flight=self.edge.flights.count)
        await asyncio.gather(*(wire.close() for wire in self._wires))
        await self._observers.close()
        for name in self.registry.names():
            try:
                await self.registry.unload(name)
            except LoadError as error:  # the others still end as they should
                log.warning("model not unloaded", error=str(error))
        if self._predictor is not None:
            await self._predictor.close()
        self.pool.close()
        return has_ended


async def run(server: Server, ignored: Sequence[str], worker: Worker | None = None) -> int:
    """Load, listen, wait for a signal, drain. The exit status. As one of several ``worker``s: listen when all have loaded."""
    try:
        await server.load(worker.unloaded if worker else frozenset())
        stop = lifecycle.stop_event()
        if worker is not None:
            server.edge.all_pages = worker.pages
            worker.carry_out, server.edge.meta.change_all = server.edge.meta.change, worker.change
            await worker.may_listen(server.report)
        await server.listen(worker.sockets if worker else ())
    except (LoadError, listening.ListenError) as error:
        return fail(str(error))
    startup.keep_loaded()
    log.info(
        "serving",
        models=server.registry.names(),
        port=server.port,
        import_ms=round(server.startup.import_ms, 1),
        load_ms=round(server.startup.load_ms, 1),
        **({"worker": worker.place} if worker else {}),
        **({"flags_without_effect": list(ignored)} if ignored else {}),
    )
    await stop.wait()
    log.info("draining", in_flight=server.edge.flights.count)
    await server.drain()
    if worker is not None:
        worker.close()
    return 0


def _predictor(models: Sequence[Model], options: Settings) -> Any:
    """What transformers and explainers ask; None for everybody else, who then does not load an HTTP client."""
    if not options.predictor_host:
        return None
    from wakeful.serving import predictor_client

    return predictor_client.connect(models, options)


def _ports(options: Settings, environ: Mapping[str, str]) -> list[int]:
    """The REST port first; then ``--grpc_port``, and the port that Knative says it calls. Each speaks everything."""
    named = environ.get("PORT", "") if "K_REVISION" in environ else ""
    more = [options.grpc_port, int(named) if named.isdigit() else 0]
    return [options.http_port, *dict.fromkeys(port for port in more if port not in (0, options.http_port))]


def _joining(options: Settings) -> Joining | None:
    """What the flags say of batches, for every model; None: nothing."""
    if not options.max_batchsize and not options.max_latency:
        return None
    return Joining(options.max_batchsize or Joining().max_batch_size, options.max_latency / 1000)


def _limits(options: Settings) -> Limits:
    return Limits(
        body_bytes=options.max_body_bytes,
        body_timeout_s=options.body_timeout_s,
        idle_timeout_s=options.timeout_keep_alive,
        connections=options.max_connections,
        compress_min_bytes=options.compress_min_bytes,
    )


def serve(
    models: Sequence[Model] | Callable[[Settings], Sequence[Model]],
    argv: Sequence[str] | Settings | None = None,
) -> int:
    """Serve ``models`` until SIGTERM; returns the exit status. ``argv`` (or settings) defaults to the command line.

    Models that depend on flags (``--model_name``) are made by a function of the settings.
    """
    make = models if callable(models) else lambda _: models
    if isinstance(argv, Settings):
        return _run_settings(make, argv, ())
    return serve_with(make, sys.argv[1:] if argv is None else argv)


def serve_with(
    make: Callable[[S], Sequence[Model]],
    argv: Sequence[str],
    kind: type[S] = Settings,  # type: ignore[assignment]
) -> int:
    """As ``serve``, with models made from the settings (of ``kind``): what a runtime's ``main`` calls."""
    if not settings.HELP.isdisjoint(argv):
        from wakeful.serving import flag_help

        return flag_help.tell(kind)
    try:
        parsed = settings.parse(argv, kind)
    except settings.SettingsError as error:
        return fail(str(error), EXIT_USAGE)
    return _run_settings(make, parsed.settings, parsed.ignored)


def _run_settings(make: Callable[[S], Sequence[Model]], given: S, ignored: Sequence[str]) -> int:
    options = settings.in_pod(given, os.environ)

    def one(worker: Worker | None = None) -> int:
        def server_of() -> Server:
            return Server(make(options), options, os.environ)

        try:
            return lifecycle.run(_start(server_of, ignored, worker))
        except settings.SettingsError as error:
            return fail(str(error), EXIT_USAGE)

    return one() if options.workers == 1 else _several(options, one)


def _several(options: Settings, one: Callable[[Worker], int]) -> int:
    """``options.workers`` processes that each do ``one``."""
    from wakeful.serving import workers

    ports = _ports(options, os.environ)
    try:
        sockets = workers.bind(options.http_address, ports)
    except listening.ListenError as error:
        return fail(str(error))
    return workers.Supervisor(options.workers, one, sockets, options.drain_s).run()


async def _start(make: Callable[[], Server], ignored: Sequence[str], worker: Worker | None) -> int:
    try:
        server = make()
    except LoadError as error:
        return fail(str(error))
    return await run(server, ignored, worker)


def fail(sentence: str, status: int = EXIT_FAILED) -> int:
    """Leave ``sentence`` as the last line on stderr and as termination message; returns ``status``."""
    return termination.fail(sentence, status, os.environ)


__all__: list[Any] = ["EXIT_FAILED", "Server", "Settings", "fail", "run", "serve", "serve_with"]
