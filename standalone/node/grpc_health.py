"""One call of ``grpc.health.v1.Health/Check`` over HTTP/2, without a gRPC library in the node.

Called by probing. The request holds at most one string field, the answer one enum, so the two messages are written
and read by hand. Invariant: whatever the peer sends, at most 64 KiB are kept and the connection is closed.
"""

from __future__ import annotations

import asyncio

import h2.config
import h2.connection
import h2.events

PATH = "/grpc.health.v1.Health/Check"
STATES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
MAX_BYTES = 1 << 16


async def check(host: str, port: int, service: str) -> str:
    """The state of ``service`` as its enum name. Raises ``OSError``, ``EOFError`` or ``ValueError``."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        connection.initiate_connection()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", PATH),
            (":authority", f"{host}:{port}"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ]
        connection.send_headers(1, headers)
        connection.send_data(1, _request(service), end_stream=True)
        writer.write(connection.data_to_send())
        return await _answer(connection, reader, writer)
    finally:
        writer.close()


async def _answer(
    connection: h2.connection.H2Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> str:
    body = b""
    seen: dict[str, str] = {}
    while True:
        data = await reader.read(MAX_BYTES)
        if not data or len(body) > MAX_BYTES:
            raise EOFError("the gRPC server ended the connection")
        try:
            events = connection.receive_data(data)
        except Exception as error:  # h2 raises many kinds for a peer that does not speak HTTP/2
            raise ValueError("the server does not speak gRPC") from error
        for event in events:
            if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                seen.update({str(k): str(v) for k, v in event.headers or ()})
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
            elif isinstance(event, h2.events.StreamEnded):
                return _state(seen, body)
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                raise EOFError("the gRPC server reset the call")
        writer.write(connection.data_to_send())


def _request(service: str) -> bytes:
    name = service.encode()
    if len(name) > 127:
        raise ValueError("a gRPC service name longer than 127 bytes is not supported")
    message = b"\x0a" + bytes([len(name)]) + name if name else b""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def _state(headers: dict[str, str], body: bytes) -> str:
    if headers.get("grpc-status", "0") != "0":
        detail = headers.get("grpc-message") or f"status {headers['grpc-status']}"
        raise ValueError(f"the gRPC server answered: {detail}")
    message = body[5:]
    number = message[1] if len(message) >= 2 and message[0] == 8 else 0
    return STATES[number] if number < len(STATES) else str(number)
