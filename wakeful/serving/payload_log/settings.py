"""What the payload logger is told by its environment; the controller writes it from ``spec.*.logger``.

Called by ``server`` once. Names and defaults are below; unknown values end the start with one sentence.
``WAKEFUL_LOGGER_URL`` (CloudEvents) or ``WAKEFUL_LOGGER_STORE_PATH`` (``s3://bucket/prefix``, ``file:///folder``) turns
the logger on; without either there is none, and it costs nothing.

Invariant: settings that were accepted need no further check.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from wakeful.core.protocol import payload_record, payload_store
from wakeful.core.protocol.payload_record import Identity
from wakeful.core.scaling import durations
from wakeful.serving.settings import SettingsError

PREFIX = "WAKEFUL_LOGGER_"
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.01, 3600.0


class Mode(StrEnum):
    """Which records are made."""

    ALL = "all"
    REQUEST = "request"
    RESPONSE = "response"


class Format(StrEnum):
    """What objects in a store hold: one JSON object a line, or a table."""

    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, slots=True)
class LoggerSettings:
    """One logger."""

    url: str = ""
    """CloudEvents are posted here."""
    store_path: str = ""
    """``s3://bucket/prefix`` or ``file:///folder``: objects are written here."""
    mode: Mode = Mode.ALL
    format: Format = Format.JSON
    batch_size: int = 1
    """Records an object holds; more than one makes fewer, larger objects."""
    batch_interval_s: float = 5.0
    """How long a record may wait for its object to fill."""
    metadata_headers: tuple[str, ...] = ()
    redacted: frozenset[str] = frozenset()
    """Names of JSON members and V2 tensors whose values are taken out; kept folded, whatever case they are given in."""
    sample_percent: float = 100.0
    """Calls of which records are made."""
    max_body_bytes: int = 1 << 20
    """Longer bodies are left out of their record (which says how long they were)."""
    max_queued_bytes: int = 32 << 20
    """Records waiting to be sent; more are dropped and counted."""
    max_queued: int = 1000
    """Twice an object's worth at least: while one is sent the next is gathered."""
    identity: Identity = field(default_factory=Identity)

    def __post_init__(self) -> None:
        object.__setattr__(self, "redacted", payload_record.fold(self.redacted))


def parse(environ: Mapping[str, str]) -> LoggerSettings | None:
    """The logger this environment asks for, or None. Raises ``SettingsError``."""
    asked = {
        name.removeprefix(PREFIX): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and value
    }
    url, store = asked.get("URL", ""), asked.get("STORE_PATH", "")
    if not url and not store:
        return None
    if url and store:
        raise SettingsError(f"{PREFIX}URL and {PREFIX}STORE_PATH are both set: a logger has one of them")
    if url and (why := payload_store.url_problem(url)):
        raise SettingsError(f"{PREFIX}URL is {url[:200]!r}: {why}")
    if store and (why := payload_store.store_problem(store)):
        raise SettingsError(f"{PREFIX}STORE_PATH is {store[:200]!r}: {why}")
    batch_size = int(_number("BATCH_SIZE", asked, 1, 1, 10_000))
    return LoggerSettings(
        url=url,
        store_path=store,
        mode=Mode(_one_of("MODE", asked, tuple(Mode), Mode.ALL)),
        format=Format(_one_of("STORE_FORMAT", asked, tuple(Format), Format.JSON)),
        batch_size=batch_size,
        batch_interval_s=_duration("BATCH_INTERVAL", asked, 5.0),
        metadata_headers=_names("METADATA_HEADERS", asked),
        redacted=frozenset(_names("REDACT", asked)),
        sample_percent=_number("SAMPLE_PERCENT", asked, 100.0, 0, 100),
        max_body_bytes=int(_number("MAX_BODY_BYTES", asked, 1 << 20, 0, 1 << 30)),
        max_queued_bytes=int(_number("MAX_QUEUED_BYTES", asked, 32 << 20, 1 << 10, 1 << 34)),
        max_queued=max(1000, 2 * batch_size),
        identity=_identity(environ, asked),
    )


def _identity(environ: Mapping[str, str], asked: Mapping[str, str]) -> Identity:
    return Identity(
        source=asked.get("SOURCE_URI", "") or environ.get("POD_NAME", "") or environ.get("HOSTNAME", ""),
        inferenceservice=environ.get("INFERENCE_SERVICE_NAME", ""),
        namespace=asked.get("NAMESPACE", "") or environ.get("POD_NAMESPACE", ""),
        component=asked.get("COMPONENT", ""),
        endpoint=asked.get("ENDPOINT", ""),
        revision=environ.get("K_REVISION", ""),
        annotations=_annotations(asked.get("METADATA_ANNOTATIONS", "")),
    )


def _annotations(text: str) -> dict[str, str]:
    """``k=v,k=v`` as KServe's agent takes it, or a JSON object."""
    if text.startswith("{"):
        try:
            value = json.loads(text)
        except ValueError as error:
            raise SettingsError(f"{PREFIX}METADATA_ANNOTATIONS is no JSON object: {error}") from error
        return {str(key): str(item) for key, item in value.items()}
    pairs = (item.partition("=") for item in text.split(",") if item.strip())
    return {key.strip(): value for key, _, value in pairs}


def _names(name: str, asked: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(item.strip() for item in asked.get(name, "").split(",") if item.strip())


def _one_of(name: str, asked: Mapping[str, str], known: tuple[str, ...], default: str) -> str:
    value = asked.get(name, default).lower()
    if value not in known:
        raise SettingsError(f"{PREFIX}{name} is {value[:60]!r}: it takes {', '.join(known)}")
    return value


def _duration(name: str, asked: Mapping[str, str], default: float) -> float:
    """A Go duration (``30s``, ``1m``), as KServe's ``batchInterval`` is."""
    try:
        seconds = durations.parse(asked[name]) if name in asked else default
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{name}: {error}") from None
    if not MIN_INTERVAL_S <= seconds <= MAX_INTERVAL_S:
        raise SettingsError(f"{PREFIX}{name} must be from 10ms to 1h, got {asked[name][:40]}")
    return seconds


def _number(name: str, asked: Mapping[str, str], default: float, low: float, high: float) -> float:
    text = asked.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        raise SettingsError(f"{PREFIX}{name} is {text[:60]!r}, not a number") from None
    if not low <= value <= high:
        raise SettingsError(f"{PREFIX}{name} must be from {low:g} to {high:g}, got {text[:60]}")
    return value
