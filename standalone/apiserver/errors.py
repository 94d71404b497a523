"""What goes wrong in the API server, as Kubernetes ``Status`` objects: code, reason, message, details.

Raised anywhere below the HTTP edge, rendered once in ``server_http``. Left out: which client sees what; every
factory fixes code and reason together, because kubectl and client-go branch on the reason.

Invariant: ``StatusError.status()`` is a complete ``v1`` Status with ``status: Failure``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Obj = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cause:
    """One field's complaint: ``reason`` such as ``FieldValueInvalid``, JSON path, message as Kubernetes words it."""

    field: str
    reason: str
    message: str


class StatusError(Exception):
    """A failure answer: HTTP ``code``, Kubernetes ``reason``, one message, optional ``details``."""

    def __init__(self, code: int, reason: str, message: str, details: Obj | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> Obj:
        """The ``Status`` object to send."""
        body: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None:
            body["details"] = self.details
        body["code"] = self.code
        return body


def resource_name(plural: str, group: str) -> str:
    """``pods`` or ``deployments.apps``: how messages name a resource."""
    return f"{plural}.{group}" if group else plural


def _details(group: str, kind: str, name: str = "") -> Obj:
    parts = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in parts.items() if value}


def not_found(plural: str, group: str, name: str) -> StatusError:
    message = f'{resource_name(plural, group)} "{name}" not found'
    return StatusError(404, "NotFound", message, _details(group, plural, name))


def already_exists(plural: str, group: str, name: str) -> StatusError:
    message = f'{resource_name(plural, group)} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, _details(group, plural, name))


def conflict(plural: str, group: str, name: str, why: str) -> StatusError:
    message = f'Operation cannot be fulfilled on {resource_name(plural, group)} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(group, plural, name))


def stale(plural: str, group: str, name: str) -> StatusError:
    """The 409 of an update whose ``resourceVersion`` is not the present one."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(plural, group, name, why)


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> StatusError:
    """422 with one cause a field; the message joins them as kubectl prints them."""
    parts = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    parts = list(dict.fromkeys(parts))
    text = parts[0] if len(parts) == 1 else "[" + ", ".join(parts) + "]"
    named = f"{kind}.{group}" if group else kind
    details = _details(group, kind, name)
    details["causes"] = [
        {"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes
    ]
    return StatusError(422, "Invalid", f'{named} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def forbidden(plural: str, group: str, name: str, why: str, details: Obj | None = None) -> StatusError:
    named = resource_name(plural, group)
    more = {**_details(group, plural, name), **(details or {})}
    return StatusError(403, "Forbidden", f'{named} "{name}" is forbidden: {why}', more)


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def no_such_path() -> StatusError:
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


class UnknownPathError(StatusError):
    """404 for a path that belongs to no group served here: answered as text, as Kubernetes does."""

    def __init__(self) -> None:
        super().__init__(404, "NotFound", "404 page not found\n")


def method_not_allowed(message: str = "") -> StatusError:
    """405; without words of its own for a verb that the path does not have."""
    if message:
        return StatusError(405, "MethodNotAllowed", message)
    text = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", text, {})


MEDIA_TYPES = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


def unsupported_media(accepted: str = MEDIA_TYPES) -> StatusError:
    """415 of a body."""
    text = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    return StatusError(415, "UnsupportedMediaType", text)


def not_acceptable(is_form: bool = False, offered: str = MEDIA_TYPES) -> StatusError:
    """406: no media type of ``Accept`` is served, or (``is_form``) not in the form asked for, such as a Table."""
    if is_form:
        text = f"only the following media types are accepted: {offered}"
        return StatusError(406, "NotAcceptable", text)
    text = f"406: Not Acceptable\n\nAvailable representations: {offered}"
    return StatusError(406, "NotAcceptable", text, {})


def expired(message: str, continue_token: str = "") -> StatusError:
    """410: the version or page asked for is no longer in the history; the client lists again."""
    return StatusError(410, "Expired", message, {"continue": continue_token} if continue_token else None)


def too_many(message: str, retry_after_s: int = 1) -> StatusError:
    return StatusError(429, "TooManyRequests", message, {"retryAfterSeconds": retry_after_s})


def too_large(limit_bytes: int) -> StatusError:
    message = f"Request entity too large: limit is {limit_bytes}"
    return StatusError(413, "RequestEntityTooLarge", message)


def internal(message: str) -> StatusError:
    causes: list[Mapping[str, str]] = [{"message": message}]
    return StatusError(500, "InternalError", f"Internal error occurred: {message}", {"causes": causes})


def unsupported(what: str, instead: str) -> StatusError:
    """501: a call of Kubernetes that this server does not have, and what to do instead."""
    return StatusError(501, "NotImplemented", f"{what} is not supported by the embedded API: {instead}")


def storage_failed(why: str, is_full: bool) -> StatusError:
    """The write could not be made durable and did not happen. 507 when the disk is full.

    Without a time to try again: client-go would obey it ten times, and the user would wait for a minute in silence.
    """
    return StatusError(507 if is_full else 500, "InternalError", why)
