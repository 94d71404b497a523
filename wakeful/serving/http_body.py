"""What can be wrong with a request's body, and the memory that all bodies together may take.

Wires raise these errors and charge the budget as bytes arrive, because 256 waiting requests of 64 MiB would not fit;
``http_edge`` renders them. Left out: reading (the wire's).

Invariant: bytes held by all requests never exceed ``max_bytes`` plus one read of each connection.
"""

from __future__ import annotations

from wakeful.core.errors import FailureError, FailureKind, InvalidError


class WireError(InvalidError):
    """What came is no request, or its body cannot be had. ``status`` is the HTTP status that says so."""

    status = 400


class BodyTooLargeError(WireError):
    """The body is over the limit."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the request body is larger than {limit} bytes: send less, or start the server with --max_body_bytes"
        )


class BodyTimeoutError(WireError):
    """The client sent its body too slowly."""

    status = 408


class EncodingError(WireError):
    """The body is compressed in a way this server does not know."""

    status = 415


class ExpectationError(WireError):
    """The client wants to be promised something other than to be heard."""

    status = 417


class HeadTooLargeError(WireError):
    """The request's head, or its trailers, are over the limit."""

    status = 431


class TargetTooLongError(WireError):
    """The request's target is over the limit by itself."""

    status = 414


class MethodError(WireError):
    """No route of any server here takes this method."""

    status = 501

    def __init__(self) -> None:
        super().__init__(
            "the request's method is not known here: send GET, HEAD or POST (methods are upper case)"
        )


class VersionError(WireError):
    """The request is of an HTTP version that this port does not speak."""

    status = 505


class Budget:
    """Bytes that all requests together may hold."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held_bytes = 0
        self.rejected = 0
        """Charges over the bound so far."""

    def charge(self, count: int) -> None:
        """Hold ``count`` bytes more. Raises ``FailureError`` (overloaded)."""
        if self.held_bytes + count > self.max_bytes:
            self.rejected += 1
            raise FailureError(
                FailureKind.OVERLOADED,
                f"request bodies already hold {self.held_bytes} bytes, the limit is {self.max_bytes}: try again later",
            )
        self.held_bytes += count

    def release(self, count: int) -> None:
        """Give back what ``charge`` held."""
        self.held_bytes -= count
