"""The wires of the model server: one port that speaks HTTP/1.1, HTTP/2 and gRPC by its first bytes."""
