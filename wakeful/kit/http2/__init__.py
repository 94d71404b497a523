"""HTTP/2 (RFC 9113) for servers: frames, header blocks, streams with flow control, and a connection on a transport.

Ours, because it is on the path of every gRPC request: h2 takes three times what a whole request may cost
(docs/decisions/0111). ``link`` is the asyncio side, everything else touches no socket. Left out: the client's side,
priorities (deprecated), server push, and the upgrade from HTTP/1.1 (RFC 9113 dropped it).
"""
