"""One request in its HTTP/1.1 connection's order, and how its answer is framed.

``http1_reader`` makes it, ``http1`` answers it. Made for every request, so what is rarely set is a class attribute.

Invariant: what is charged on the budget for it is ``held_bytes``, until it is answered or its connection is lost.
"""

from __future__ import annotations

from wakeful.serving.exchange import Reply, Request

CLOSE, KEEP = b"Connection: close\r\n", b"Connection: keep-alive\r\n"


class Turn:
    """One request in its connection's order, and how its answer is framed."""

    coding = ""
    """Of the body, which is not inflated yet."""
    connection = b""
    """The ``Connection`` line of the answer."""
    expects_continue = False
    held_bytes = 0
    """Charged on the budget."""
    is_answered = False
    is_http10 = False
    is_last = False
    """Whether the connection ends with the answer."""
    is_screened = False
    reply: Reply | None = None
    """The answer, where it is known before the turn."""

    def __init__(self, request: Request | None, is_last: bool = False) -> None:
        self.request = request
        if is_last:
            self.is_last = True
            self.connection = CLOSE
