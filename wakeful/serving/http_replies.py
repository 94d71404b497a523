"""Replies that every edge gives: JSON, no such route, a failure; and the request id that all of them carry.

Used by ``http_edge`` and ``http_ask``. Error bodies are kserve.md 5.1's. A reply's headers are its own dict.

Invariant: what nobody expected is logged with the request id, and its text stays in the log.
"""

from __future__ import annotations

from typing import Any

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import oip, problem
from wakeful.kit import logs
from wakeful.serving import http_body, ids
from wakeful.serving.exchange import Headers, Reply, Request

REQUEST_ID = "X-Request-Id"
REQUEST_ID_CHARACTERS = 128
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
"""Of RFC 9110 and 5789: what is none of these is answered with 501 on every path."""

log = logs.get("serving")


def given_id(headers: Headers) -> str:
    """The request id that the client sent, '' where there is none or none that can be used."""
    given = headers.first.get("x-request-id", "")
    if given and len(given) <= REQUEST_ID_CHARACTERS and given.isprintable() and given.isascii():
        return given
    return ""


def request_id(headers: Headers | None) -> str:
    """The client's request id, or a new one."""
    return (given_id(headers) if headers is not None else "") or ids.request_id()


def stamped(reply: Reply, request_id: str) -> Reply:
    """``reply`` with its request id."""
    reply.headers[REQUEST_ID] = request_id
    return reply


def tidy(headers: dict[Any, Any]) -> None:
    """Make text of what model code put among its answer's headers, and leave out a request id, which is the server's."""
    odd = [
        name
        for name, value in headers.items()
        if type(name) is not str or type(value) is not str or name.lower() == "x-request-id"
    ]
    for name in odd:
        value, text = headers.pop(name), str(name)
        if text.lower() != "x-request-id":
            headers[text] = str(value)


def json(status: int, body: object, headers: dict[str, str] | None = None) -> Reply:
    """A reply with a JSON value."""
    return Reply(status, {"Content-Type": "application/json", **(headers or {})}, oip.dump(body))


def no_route(request: Request, methods: list[str]) -> Reply:
    """501 for a method that no server of HTTP has to know, 405 where the path takes ``methods``, else 404.

    Clients of V2 read ``error`` wherever the answer is no 200.
    """
    if request.method not in METHODS:
        error = http_body.MethodError()
        return json(error.status, problem.render(error).body)
    is_v2 = request.target.startswith("/v2/")
    if methods:
        told = {"error": f"this route takes {' and '.join(methods)}"} if is_v2 else {}
        return json(405, {"detail": "Method Not Allowed", **told}, {"Allow": ", ".join(methods)})
    told = {"error": "this server has no such route"} if is_v2 else {}
    return json(404, {"detail": "Not Found", **told})


def failure(error: Exception, request_id: str) -> FailureError:
    """``error`` as its caller may see it: what nobody expected is logged."""
    if isinstance(error, FailureError):
        return error
    log.error("request failed", request_id=request_id, error=f"{type(error).__name__}: {error}"[:500])
    return FailureError(FailureKind.INTERNAL, "internal error; the server's log has the request id")


def failed(error: Exception, request_id: str) -> Reply:
    """The answer to a failure."""
    error = failure(error, request_id)
    rendered = problem.render(error)
    status = error.status if isinstance(error, http_body.WireError) else rendered.status
    headers = {} if rendered.retry_after_s is None else {"Retry-After": str(rendered.retry_after_s)}
    if status == 415:
        headers["Accept-Encoding"] = "gzip, deflate"
    return json(status, rendered.body, headers)
