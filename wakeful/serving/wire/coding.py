"""Content codings: inflate request bodies within the limit, compress answers for clients that ask for it.

Called by the wires. gzip and deflate only: what Python has and what every client speaks; ``br`` and ``zstd`` would be
one more dependency each, for traffic that mostly stays inside a cluster (docs/decisions/0110). Pure functions.

Invariant: ``inflate`` never holds more than ``limit`` bytes and one step, whatever the input claims.
"""

from __future__ import annotations

import zlib

from wakeful.serving.exchange import Headers, Reply, Request
from wakeful.serving.http_body import BodyTooLargeError, EncodingError, WireError

GZIP_WINDOW, ZLIB_WINDOW, RAW_WINDOW = 31, 15, -15
STEP_BYTES = 256 * 1024
LEVEL = 1
"""Of compression: six times as fast as level 6 on JSON numbers, and nearly as small."""
COMPRESSIBLE = (
    "application/json",
    "text/plain",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "text/csv",
)


def known(headers: Headers) -> str:
    """The coding to undo: ``gzip``, ``deflate`` or '' for none. Raises ``EncodingError``; two at once are none of these."""
    if "content-encoding" not in headers.first:
        return ""
    named = ",".join(headers.all("content-encoding")).lower()
    names = [name for part in named.split(",") if (name := part.strip()) not in ("", "identity")]
    match names:
        case []:
            return ""
        case ["gzip" | "x-gzip"]:
            return "gzip"
        case ["deflate"]:
            return "deflate"
    raise EncodingError(f"Content-Encoding {', '.join(names)[:40]!r}: send gzip, deflate or none")


def inflate(data: bytes, coding: str, limit: int) -> bytes:
    """``data`` without its coding, at most ``limit`` bytes. Raises ``WireError``."""
    parts: list[bytes] = []
    size = 0
    while data:
        window = GZIP_WINDOW if coding == "gzip" else ZLIB_WINDOW if data[0] & 0x0F == 8 else RAW_WINDOW
        stream = zlib.decompressobj(window)
        try:
            while not stream.eof:
                part = stream.decompress(data, STEP_BYTES)
                size += len(part)
                if size > limit:
                    raise BodyTooLargeError(limit)
                if not part and not stream.unconsumed_tail and not stream.eof:
                    raise WireError(f"the request body cannot be read: its {coding} data ends too early")
                parts.append(part)
                data = stream.unconsumed_tail
        except zlib.error as error:
            raise WireError(f"the request body cannot be read: it is not {coding}: {error}") from error
        data = stream.unused_data  # gzip: another member; deflate has none
        if data and coding != "gzip":
            raise WireError("the request body cannot be read: bytes follow the deflate data")
    return b"".join(parts)


def accepted(accept_encoding: str) -> str:
    """The coding that the client asks for: ``gzip``, ``deflate`` or '' for none."""
    wanted: dict[str, float] = {}
    for item in accept_encoding.lower().split(","):
        name, _, parameters = item.partition(";")
        key, _, weight = parameters.strip().partition("=")
        try:
            wanted[name.strip()] = float(weight) if key.strip() == "q" else 1.0
        except ValueError:
            wanted[name.strip()] = 0.0
    for name in ("gzip", "deflate"):
        if wanted.get(name, 0.0) > 0:
            return name
    return ""


def compress(data: bytes, coding: str) -> bytes:
    """``data`` in ``coding``."""
    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP_WINDOW if coding == "gzip" else ZLIB_WINDOW)
    return stream.compress(data) + stream.flush()


def wanted(request: Request | None, reply: Reply, least: int) -> str:
    """The coding that the client of ``request`` asks for, if the answer has ``least`` bytes and is of a kind that shrinks; else ''."""
    if type(reply.body) is not bytes or len(reply.body) < least or request is None or reply.status != 200:
        return ""
    lowered = {name.lower(): value for name, value in reply.headers.items()}
    kind = lowered.get("content-type", "").partition(";")[0].strip().lower()
    if "content-encoding" in lowered or kind not in COMPRESSIBLE:
        return ""
    return accepted(request.headers.get("accept-encoding", ""))


def compressed(reply: Reply, chosen: str) -> Reply:
    """``reply``, whose body is bytes, in the coding ``chosen``."""
    assert isinstance(reply.body, bytes)
    headers = {**reply.headers, "Content-Encoding": chosen, "Vary": "Accept-Encoding"}
    return Reply(reply.status, headers, compress(reply.body, chosen))
