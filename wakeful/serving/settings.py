"""The flags of every model server: KServe's names, our few, loaded once by a runtime's ``__main__``.

``--name value``, ``--name=value``, ``-`` and ``_`` alike; the last one wins, because the node appends its own flags.
KServe flags whose subject does not exist here yet are accepted and named in one log line.

Invariant: an unknown flag, a missing value or a value of the wrong type ends start-up with one sentence.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar, get_type_hints, overload


class SettingsError(Exception):
    """A flag is unknown or wrong; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One model server's settings. Every field is also the flag of its name."""

    model_name: str = "model"
    """What the model is called in URLs."""
    model_dir: str = "/mnt/models"
    """The folder that holds the model's files: where the storage initializer puts them."""
    http_port: int = 8080
    """TCP port of the REST API."""
    grpc_port: int = 0
    """One more TCP port; 0: none. gRPC is on ``http_port`` as well, whatever this says."""
    enable_grpc: bool = True
    """Whether gRPC is answered; else its calls get 404."""
    grpc_max_receive_message_length: int = 64 * 1024 * 1024
    """Largest message from a gRPC client, counted after decompression; then RESOURCE_EXHAUSTED."""
    grpc_max_send_message_length: int = 2**31 - 1
    """Largest message to a gRPC client; then RESOURCE_EXHAUSTED."""
    http_address: str = "0.0.0.0"
    """Address to listen on. All of them, because a pod's probes come from outside; one machine sets 127.0.0.1."""
    workers: int = 1
    """Processes that serve, each with its own copy of every model. For Python code that needs more than one core."""
    max_threads: int = 4
    """Threads for sync model code."""
    max_queue: int = 256
    """Requests that may wait for a thread; at the bound the answer is 503 with Retry-After."""
    max_batchsize: int = 0
    """Rows in one call of any model, joined from several requests; V1 answers then say which batch they were in, as those of
    KServe's batcher do. 0: each model as it says itself (tables: up to 512 rows while the model is busy)."""
    max_latency: float = 0.0
    """Milliseconds a request may be held back until ``--max_batchsize`` rows are there. 0: none, what waits goes at once."""
    response_cache_bytes: int = 0
    """Bytes of answers kept for REST requests that come again, byte for byte (``response_cache``). 0: none are kept."""
    max_concurrency: int = 0
    """Inference requests answered at one moment, waiting ones and streams included; then 503 with Retry-After. 0: the
    two bounds above alone. Hard, as ``containerConcurrency`` is; on a cluster Knative queues in front of it."""
    max_connections: int = 10_000
    """Connections at one moment; the next one hears 503 and is closed."""
    request_timeout_s: float = 300.0
    """Seconds a request may take from admission to answer; then 504. Knative's own default."""
    max_body_bytes: int = 64 * 1024 * 1024
    """Largest request body, counted after decompression; then 413."""
    max_buffered_bytes: int = 512 * 1024 * 1024
    """All request bodies held at one moment; then 503."""
    compress_min_bytes: int = 64 * 1024
    """JSON and text answers from here on are compressed for clients that say Accept-Encoding; 0: none."""
    body_timeout_s: float = 60.0
    """Seconds a client may take to send its body; then 408."""
    timeout_keep_alive: int = 65
    """Seconds an idle connection is kept: longer than the 60 s of usual proxies, so that they close first."""
    enable_repository: bool = False
    """Whether callers may load and unload models (V2 repository routes): off, because anybody who can predict could."""
    drain_s: float = 20.0
    """Seconds that requests in flight get after SIGTERM: below the 30 s after which a kubelet kills."""
    drain_quiet_s: float = 0.25
    """Seconds without a request after which a draining server closes: whoever sends hears of its end a little later."""
    access_log: str = "errors"
    """Which answers are lines of the log: errors (500 and more), all or off."""
    predictor_host: str = ""
    """Host (and port) of the predictor that transformers and explainers ask; '' for a predictor."""
    predictor_protocol: str = "v1"
    """How the predictor is spoken to: v1, v2 or grpc-v2."""
    predictor_use_ssl: bool = False
    """Whether the predictor is called over TLS."""
    predictor_request_timeout_seconds: float = 600.0
    """Most seconds one call of the predictor may take, waiting for a cold one included; the request's own deadline counts too."""
    enable_predictor_health_check: bool = False
    """Whether readiness asks the predictor too."""
    predictor_request_retries: int = 2
    """How often a call that the predictor did not begin (no connection, 429 or 503 with Retry-After) is repeated."""
    predictor_max_answer_bytes: int = 512 * 1024 * 1024
    """Largest answer of the predictor that is taken; then 500. It is held in memory as a whole."""


IGNORED = frozenset(
    {
        "max_asyncio_workers", "log_config_file", "access_log_format", "enable_docs_url", "enable_latency_logging",
        "configure_logging", "protocol", "nthread",
    }
)  # fmt: skip
"""KServe's flags that are accepted without effect (docs/reference/parity.md says which matter)."""

HIGHEST = {"http_port": 65535, "grpc_port": 65535, "workers": 1000}
"""Of processes as many as Knative's ``containerConcurrency``, which may ask for them: a million took the whole machine."""

BARE = frozenset(
    {
        "enable_repository",
        "enable_grpc",
        "enable_docs_url",
        "enable_latency_logging",
        "predictor_use_ssl",
        "enable_predictor_health_check",
    }
)
"""Booleans that may stand without a value."""


ZERO_IS_A_VALUE = frozenset(
    {
        "http_port", "grpc_port", "max_queue", "max_batchsize", "max_concurrency", "response_cache_bytes", "compress_min_bytes", "nthread",
        "predictor_request_retries",
    }
)  # fmt: skip

HELP = frozenset({"--help", "-h"})
"""Who says one of these wants ``flag_help``, not a server."""

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Parsed(Generic[S]):
    """The settings and the names of accepted flags that have no effect."""

    settings: S
    ignored: tuple[str, ...]


@overload
def parse(argv: Sequence[str]) -> Parsed[Settings]: ...
@overload
def parse(argv: Sequence[str], kind: type[S]) -> Parsed[S]: ...
def parse(argv: Sequence[str], kind: type[Any] = Settings) -> Parsed[Any]:
    """Settings from command-line arguments. Raises ``SettingsError``.

    ``kind`` is ``Settings``, or a runtime's own dataclass of it, whose further fields are flags too.
    """
    types = get_type_hints(kind)
    values: dict[str, Any] = {}
    ignored: list[str] = []
    place = 0
    while place < len(argv):
        name, value, place = _next_flag(argv, place)
        if name in types:
            values[name] = value_of(name, value, types[name])
        elif name in IGNORED:
            ignored.append(name)
        else:
            near = difflib.get_close_matches(name, [*types, *IGNORED], n=1)
            hint = f" (did you mean --{near[0]}?)" if near else ""
            raise SettingsError(
                f"unknown flag --{name}{hint}; known: {', '.join(f.name for f in fields(kind))}"
            )
    settings = kind(**values)
    if not settings.model_name or "/" in settings.model_name:
        raise SettingsError(f"--model_name {settings.model_name!r} cannot be part of a URL: leave out '/'")
    return Parsed(settings, tuple(ignored))


def in_pod(settings: S, environ: Mapping[str, str]) -> S:
    """``settings`` where Knative (or the node of one machine) says by environment on which port and address to listen.

    ``PORT`` counts only beside ``K_REVISION``: it is where requests and probes will come, whatever the flag says.
    """
    changes: dict[str, Any] = {}
    port = environ.get("PORT", "")
    if "K_REVISION" in environ and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        changes["http_port"] = int(port)
    if environ.get("WAKEFUL_HTTP_ADDRESS") and settings.http_address == Settings().http_address:
        changes["http_address"] = environ["WAKEFUL_HTTP_ADDRESS"]
    if (
        environ.get("WAKEFUL_PREDICTOR_PROTOCOL")
        and settings.predictor_protocol == Settings().predictor_protocol
    ):
        changes["predictor_protocol"] = environ["WAKEFUL_PREDICTOR_PROTOCOL"]  # the controller knows it
    return replace(settings, **changes)


def _next_flag(argv: Sequence[str], place: int) -> tuple[str, str, int]:
    word = argv[place]
    if not word.startswith("--") or len(word) < 3:
        raise SettingsError(f"argument {word!r} is not a flag: flags are --name=value")
    name, has_value, value = word[2:].partition("=")
    name = name.replace("-", "_")
    if has_value:
        return name, value, place + 1
    is_last = place + 1 >= len(argv)
    if name in BARE and (is_last or argv[place + 1].startswith("--")):
        return name, "true", place + 1
    if is_last:
        raise SettingsError(f"flag --{name} needs a value")
    return name, argv[place + 1], place + 2


def value_of(name: str, value: str, kind: type) -> Any:
    """What the text of a flag says. Raises ``SettingsError``."""
    if kind is str:
        return value
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise SettingsError(f"--{name} takes true or false, got {value!r}")
        return value.lower() == "true"
    try:
        number = kind(value.replace("_", "?"))  # Python would take 1_0 for 10
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise SettingsError(f"--{name} takes {wanted}, got {value!r}") from None
    low = 0 if name in ZERO_IS_A_VALUE else 1 if kind is int else 0.0
    high = HIGHEST.get(name, 2**53)
    if not low <= number <= high:
        raise SettingsError(f"--{name} must be from {low} to {high}, got {value!r}")
    return number
