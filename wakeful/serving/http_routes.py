"""Which route a method and path mean: a pure function, so that every path has one tested answer.

Called by ``http_edge`` for every request. Path segments are percent-decoded after splitting, so ``%2F`` stays inside a
segment. The table is kserve.md 5.2.

Invariant: ``match`` returns a ``Route``, or the sorted methods that the path does take (empty for an unknown path).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import unquote


class Kind(StrEnum):
    """What a request asks for."""

    ALIVE = "alive"
    METRICS = "metrics"
    V1_LIST = "v1_list"
    V1_READY = "v1_ready"
    V1_PREDICT = "v1_predict"
    V1_EXPLAIN = "v1_explain"
    V2_SERVER = "v2_server"
    V2_LIVE = "v2_live"
    V2_SERVER_READY = "v2_server_ready"
    V2_LIST = "v2_list"
    V2_MODEL = "v2_model"
    V2_MODEL_READY = "v2_model_ready"
    V2_INFER = "v2_infer"
    V2_VERSION = "v2_version"
    V2_INDEX = "v2_index"
    V2_LOAD = "v2_load"
    V2_UNLOAD = "v2_unload"
    EVENT = "event"
    OPENAI = "openai"
    OPENAI_LIST = "openai_list"
    OPENAI_MODEL = "openai_model"


OPENAI_TASKS = frozenset({"completions", "chat/completions", "embeddings", "score", "rerank"})
"""``core.protocol.openai.Task``, without importing it into servers that never see one."""
INFERENCE = frozenset({Kind.V1_PREDICT, Kind.V1_EXPLAIN, Kind.V2_INFER, Kind.EVENT})
GET, POST = "GET", "POST"


@dataclass(frozen=True, slots=True)
class Route:
    """A matched route and the model it names ('' where none; OpenAI's name it in the body)."""

    kind: Kind
    model: str = ""
    task: str = ""
    """What an OpenAI route asks for."""


def match(method: str, raw_path: str) -> Route | list[str]:
    """The route of ``method raw_path``, or which methods the path takes."""
    if method == "HEAD":
        method = GET
    path = raw_path.partition("?")[0]
    if not path.startswith("/") or path.startswith("//"):
        return []
    inner = path[1:].removesuffix("/")
    segments = [unquote(segment) for segment in inner.split("/")] if inner else []
    found = _found(segments)
    route = found.get(method)
    if route is not None:
        return route
    return sorted(found)


def _found(segments: list[str]) -> dict[str, Route]:
    match segments:
        case []:
            return {GET: Route(Kind.ALIVE), POST: Route(Kind.EVENT)}
        case ["metrics"]:
            return {GET: Route(Kind.METRICS)}
        case ["v1", "models"]:
            return {GET: Route(Kind.V1_LIST)}
        case ["v1", "models", name]:
            return _v1(name)
        case ["openai", "v1", "models"]:
            return {GET: Route(Kind.OPENAI_LIST)}
        case ["openai", "v1", "models", name]:
            return {GET: Route(Kind.OPENAI_MODEL, name)}
        case ["v1", *rest] | ["openai", "v1", *rest] if "/".join(rest) in OPENAI_TASKS:
            return {POST: Route(Kind.OPENAI, task="/".join(rest))}
        case ["v2", *rest]:
            return _v2(rest)
        case _:
            return {}


def _v1(name: str) -> dict[str, Route]:
    model, colon, verb = name.rpartition(":")
    if not colon:
        return {GET: Route(Kind.V1_READY, name)}
    match verb:
        case "predict":
            return {POST: Route(Kind.V1_PREDICT, model)}
        case "explain":
            return {POST: Route(Kind.V1_EXPLAIN, model)}
        case _:
            return {}


def _v2(rest: list[str]) -> dict[str, Route]:
    match rest:
        case []:
            return {GET: Route(Kind.V2_SERVER)}
        case ["health", "live"]:
            return {GET: Route(Kind.V2_LIVE)}
        case ["health", "ready"]:
            return {GET: Route(Kind.V2_SERVER_READY)}
        case ["models"]:
            return {GET: Route(Kind.V2_LIST)}
        case ["models", name]:
            return {GET: Route(Kind.V2_MODEL, name)}
        case ["models", name, "ready"]:
            return {GET: Route(Kind.V2_MODEL_READY, name)}
        case ["models", name, "infer"]:
            return {POST: Route(Kind.V2_INFER, name)}
        case ["models", name, "versions", _]:
            return {GET: Route(Kind.V2_VERSION, name)}
        case ["models", name, "versions", _, "ready"]:
            return {GET: Route(Kind.V2_VERSION, name)}
        case ["models", name, "versions", _, "infer"]:
            return {POST: Route(Kind.V2_VERSION, name)}
        case ["repository", "index"]:
            return {GET: Route(Kind.V2_INDEX), POST: Route(Kind.V2_INDEX)}
        case ["repository", "models", name, "load"]:
            return {POST: Route(Kind.V2_LOAD, name)}
        case ["repository", "models", name, "unload"]:
            return {POST: Route(Kind.V2_UNLOAD, name)}
        case _:
            return {}
