"""The access log: one structured line a finished inference request, where the setting asks for it.

An observer of the edge. ``--access_log`` is ``errors`` (default: answers of 500 and more), ``all`` or ``off``: at ten
thousand requests a second lines cost more than the models. Bodies, query strings and header values that a caller chose
are not in it, but the request id and the trace id, which have a fixed form.

Invariant: a line is one JSON object; nothing a caller sends can begin another.
"""

from __future__ import annotations

import re
from enum import StrEnum

from wakeful.kit import logs
from wakeful.serving import keeping
from wakeful.serving.exchange import Reply, Request

SERVER_ERROR = 500
TARGET_CHARACTERS = 300
_TRACE = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")

log = logs.get("access")


class AccessLog(StrEnum):
    """Which answers are lines."""

    OFF = "off"
    ERRORS = "errors"
    ALL = "all"

    @property
    def least_status(self) -> int:
        """The first status that is a line. Where it is off nobody asks (``observers``)."""
        return 0 if self is AccessLog.ALL else SERVER_ERROR

    @property
    def body_bytes(self) -> int:
        """It tells how long bodies are, and looks into none."""
        return 0

    def answered(self, request: Request, reply: Reply, request_id: str, duration_s: float) -> None:
        """Write the line of one answered request whose status this setting wants."""
        found = _TRACE.match(request.headers.get("traceparent", ""))
        log.info(
            "answered",
            method=request.method,
            path=request.target.partition("?")[0][:TARGET_CHARACTERS],
            status=reply.status,
            request_id=request_id,
            bytes_in=len(request.body),
            bytes_out=keeping.length(reply),
            duration_ms=round(duration_s * 1000, 3),
            scheme=request.scheme,
            peer=request.peer,
            **({"trace_id": found[1]} if found else {}),
        )
