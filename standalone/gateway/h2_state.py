"""h2's connection, kept open after the peer's GOAWAY: streams that run then must end well (RFC 9113 6.8).

h2 treats a received GOAWAY as the end of the connection: it discards what was not sent and refuses every later frame,
so a gRPC server that stops gracefully would cut off the calls it is still answering. Only public names of h2 are used.
"""

from __future__ import annotations

from h2.connection import ConnectionState, H2Connection


class GracefulConnection(H2Connection):
    """The connection's state machine."""

    def clear_outbound_data_buffer(self) -> None:
        """h2 calls this for a received GOAWAY, after it has moved to CLOSED: go on instead."""
        is_client = self.config.client_side
        self.state_machine.state = ConnectionState.CLIENT_OPEN if is_client else ConnectionState.SERVER_OPEN
