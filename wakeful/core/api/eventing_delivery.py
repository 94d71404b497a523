"""Validation of DeliverySpec and Destination, the two types that Knative's eventing kinds share.

Called by ``eventing``. Source: reference section 4.2. Invariant: a DeliverySpec without problems is one that
``wakeful.core.delivery.policy.parse_policy`` accepts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from wakeful.core.api.knative_serving_problem import Problem, disallowed, invalid, under
from wakeful.core.delivery import iso_duration

MAX_RETRIES = 1_000


def validate_delivery(value: Any, has_timeout: bool, has_retry_after: bool) -> Iterator[Problem]:
    """Problems with paths relative to the DeliverySpec."""
    if not isinstance(value, dict):
        yield invalid(value, "")
        return
    if value.get("deadLetterSink") is not None:
        yield from under("deadLetterSink", validate_destination(value["deadLetterSink"]))
    retry = value.get("retry")
    if retry is not None and (isinstance(retry, bool) or not isinstance(retry, int) or retry < 0):
        yield invalid(retry, "retry")
    elif retry is not None and retry > MAX_RETRIES:
        yield Problem(f"expected 0 <= {retry} <= {MAX_RETRIES}", "retry")
    if value.get("backoffPolicy") not in (None, "linear", "exponential"):
        yield invalid(value["backoffPolicy"], "backoffPolicy")
    if value.get("format") not in (None, "json", "binary"):
        yield invalid(value["format"], "format")
    yield from _duration(value, "backoffDelay", is_allowed=True)
    yield from _duration(value, "timeout", is_allowed=has_timeout)
    yield from _duration(value, "retryAfterMax", is_allowed=has_retry_after)


def _duration(value: dict[str, Any], key: str, is_allowed: bool) -> Iterator[Problem]:
    text = value.get(key)
    if text is None:
        return
    if not is_allowed:
        yield from disallowed(key)
        return
    try:
        seconds = iso_duration.parse(str(text))
    except ValueError as error:
        yield invalid(text, key, str(error))
        return
    if seconds < 0 or (key == "timeout" and seconds == 0):
        yield invalid(text, key)


def validate_destination(value: Any) -> Iterator[Problem]:
    """Problems of ``ref`` and ``uri``: at least one; absolute without ref, relative with it."""
    if not isinstance(value, dict):
        yield invalid(value, "")
        return
    reference, uri = value.get("ref"), value.get("uri")
    if reference is None and not uri:
        yield Problem("expected at least one, got none", "ref, uri")
        return
    if reference is not None:
        missing = [f"ref.{key}" for key in ("kind", "name") if not _get(reference, key)]
        if not _get(reference, "apiVersion") and not _get(reference, "group"):
            missing.append("ref.apiVersion")
        if missing:
            yield Problem("missing field(s)", ", ".join(missing))
    if not uri:
        return
    try:
        parts = urlsplit(str(uri))
        has_host = bool(parts.hostname)
    except ValueError as error:
        yield invalid(uri, "uri", str(error))
        return
    if reference is not None and parts.scheme:
        yield Problem(
            "Absolute URI is not allowed when Ref or [apiVersion, kind, name] is present",
            "[apiVersion, kind, name], ref, uri",
        )
    elif reference is None and (parts.scheme not in ("http", "https") or not has_host):
        yield invalid(
            uri, "uri", "Relative URI is not allowed when Ref and [apiVersion, kind, name] is absent"
        )


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None
