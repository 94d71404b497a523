"""Which observers a server has: the composition of access log, payload logger and tracer from flags and environment.

Called by ``server``. The payload logger and the tracer load their clients only where the environment asks for them.

Invariant: without any of them wires call the edge directly.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from wakeful.kit import tracing
from wakeful.serving.access_log import AccessLog
from wakeful.serving.exchange import Handler
from wakeful.serving.observing import Observed, Observer
from wakeful.serving.payload_log import settings as payload_settings
from wakeful.serving.settings import Settings, SettingsError

if TYPE_CHECKING:
    from wakeful.serving.payload_log.logger import PayloadLogger


@dataclass(slots=True)
class Observers:
    """One server's observers. ``start`` before the first request, ``close`` after the last."""

    access_log: AccessLog
    payload_logger: PayloadLogger | None
    tracer: tracing.Tracer | None

    def around(self, handler: Handler) -> Handler:
        """``handler``, observed where anybody observes."""
        watching: list[Observer] = [] if self.access_log is AccessLog.OFF else [self.access_log]
        if self.payload_logger is not None:
            watching.append(self.payload_logger)
        return Observed(handler, watching, self.tracer) if watching or self.tracer is not None else handler

    async def start(self) -> None:
        if self.payload_logger is not None:
            await self.payload_logger.start()

    async def close(self) -> None:
        """Send what they still hold; seconds at most."""
        if self.payload_logger is not None:
            await self.payload_logger.close()
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close)


def build(options: Settings, environ: Mapping[str, str], registry: CollectorRegistry) -> Observers:
    """What ``options`` and ``environ`` ask for. Raises ``SettingsError``."""
    if options.access_log not in tuple(AccessLog):
        raise SettingsError(f"--access_log takes {', '.join(AccessLog)}, got {options.access_log[:40]!r}")
    asked = payload_settings.parse(environ)
    logger = None
    if asked is not None:
        from wakeful.serving.payload_log import sinks
        from wakeful.serving.payload_log.logger import PayloadLogger

        sinks.check(asked, environ)
        logger = PayloadLogger(asked, lambda: sinks.make(asked, environ), registry, random.random)
    name = environ.get("INFERENCE_SERVICE_NAME") or options.model_name
    return Observers(AccessLog(options.access_log), logger, tracing.from_environ(environ, name))
