"""What a record shows of a body: as it was, a gRPC message as V2's JSON, and without the values that are named.

Called by ``logger`` in a thread of its own, never on the loop: a body of a MiB takes some milliseconds. JSON that would be
larger than a record may hold is left as the message it was; where values are to be taken out, what is no JSON is left out.

Invariant: what is shown has at most ``max_bytes``, and none of the values that are named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from wakeful.core.errors import FailureError
from wakeful.core.protocol import payload_record
from wakeful.core.protocol.payload_record import Record
from wakeful.kit import logs

JSON = "application/json"

log = logs.get("payload-log")


class Form(Enum):
    """What a body is."""

    PLAIN = "plain"
    """What its content type says."""
    GRPC_REQUEST = "gRPC request"
    """A ``ModelInferRequest``."""
    GRPC_ANSWERS = "gRPC answers"
    """``ModelInferResponse`` messages, each with its prefix."""


def needs_work(form: Form, redacted: frozenset[str]) -> bool:
    """Whether ``shown`` would change anything."""
    return form is not Form.PLAIN or bool(redacted)


def shown(record: Record, form: Form, redacted: frozenset[str], max_bytes: int) -> Record:
    """``record``, whose body is of ``form``, with what may leave the process of it. Never raises."""
    try:
        if form is not Form.PLAIN:
            record = _of_grpc(record, form, redacted, max_bytes)
        body = payload_record.redact(record.body, record.content_type, redacted)
    except (
        Exception
    ) as error:  # a body that nobody foresaw is left out; the record still says that there was a call
        log.warning("payload left out", id=record.id, error=f"{type(error).__name__}: {error}"[:200])
        body = b""
    return replace(record, body=body if len(body) <= max_bytes else b"")


def _of_grpc(record: Record, form: Form, redacted: frozenset[str], max_bytes: int) -> Record:
    """The record with JSON for its message, where there is such JSON and room for it."""
    from wakeful.core.protocol import oip_proto_json  # protobuf and numpy: a server that logs gRPC has them

    if not record.body:
        return record
    show: Callable[[bytes], bytes] = (
        oip_proto_json.request if form is Form.GRPC_REQUEST else oip_proto_json.answers
    )
    try:
        body = payload_record.redact(show(record.body), JSON, redacted)
    except FailureError:  # what the server has refused too
        return record
    return replace(record, body=body, content_type=JSON) if len(body) <= max_bytes else record
