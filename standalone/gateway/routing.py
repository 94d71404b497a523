"""Which revision one request goes to: Knative Ingress objects as a table, and the decision. Pure.

``fleet`` builds the table whenever an Ingress changes; ``engine`` asks it once per request with a random ``point``.
As net-kourier reads them: a host belongs to one rule; header matches come before plain paths, longer path prefixes
before shorter ones; ``rewriteHost`` starts again with that host (at most ``DEPTH`` times); splits are chosen by
percent. A ClusterLocal rule is only found under in-cluster names, so that the outside answer is 404.

Invariant: for a fixed table, request and point the decision is always the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from standalone.gateway.inbox import Headers
from wakeful.core.traffic import split

Obj = Mapping[str, Any]
DEPTH = 4
REVISION_HEADER = "knative-serving-revision"
NAMESPACE_HEADER = "knative-serving-namespace"
LOCAL_SUFFIXES = (".svc.cluster.local", ".svc")


class Miss(StrEnum):
    """Why there is no route."""

    UNKNOWN_HOST = "UnknownHost"
    NO_PATH = "NoPath"
    LOOP = "Loop"
    NO_SPLIT = "NoSplit"


@dataclass(frozen=True, slots=True)
class ToRevision:
    """Send it to a pod of this revision, with ``appended`` headers."""

    namespace: str
    revision: str
    appended: tuple[tuple[bytes, bytes], ...]
    host: str
    """The host whose rule decided (the rewritten one where a rule rewrites)."""


@dataclass(frozen=True, slots=True)
class NoRoute:
    """Nothing answers for this request."""

    reason: Miss
    host: str


@dataclass(frozen=True, slots=True)
class _Split:
    percent: int
    namespace: str
    revision: str
    appended: Headers


@dataclass(frozen=True, slots=True)
class _Path:
    prefix: str
    headers: tuple[tuple[bytes, bytes], ...]
    rewrite_host: str
    appended: Headers
    splits: tuple[_Split, ...]

    @property
    def rank(self) -> tuple[int, int]:
        return len(self.prefix), len(self.headers)


@dataclass(frozen=True, slots=True)
class Rule:
    """One host's paths, most specific first, and the Ingress it comes from."""

    ingress: tuple[str, str]
    is_local: bool
    paths: tuple[_Path, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """All hosts."""

    rules: Mapping[str, Rule] = field(default_factory=dict)
    shadowed: tuple[tuple[str, tuple[str, str]], ...] = ()
    """(host, Ingress) that lost to an older Ingress with the same host."""
    fixed: Mapping[str, ToRevision] = field(default_factory=dict)
    """Hosts whose requests all go to one revision, whatever their path and headers: most of them."""


def normal_host(authority: str) -> str:
    """The host of an authority: no port, no final dot, lower case."""
    host = authority.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0].strip("[]")
    return host.partition(":")[0].rstrip(".")


def is_cluster_name(host: str) -> bool:
    """``NAME.NAMESPACE``, also with ``.svc`` or ``.svc.cluster.local``: a name only the inside uses."""
    return host.endswith(LOCAL_SUFFIXES) or (host.count(".") == 1 and not host.endswith(".localhost"))


def build_table(ingresses: Iterable[Obj]) -> Table:
    """Make the table. Of two Ingresses with the same host the older one (then by name) has it."""
    rules: dict[str, Rule] = {}
    shadowed: list[tuple[str, tuple[str, str]]] = []
    for ingress in sorted(ingresses, key=_age):
        metadata = ingress["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        for rule in (ingress.get("spec") or {}).get("rules") or []:
            paths = _paths(rule, key[0])
            is_local = rule.get("visibility") == "ClusterLocal"
            for host in {normal_host(host) for host in rule.get("hosts") or []}:
                if host in rules and rules[host].ingress != key:
                    shadowed.append((host, key))
                else:
                    rules[host] = Rule(key, is_local, paths)
    found = ((host, _resolve(rules, host)) for host in rules)
    fixed = {host: decision for host, decision in found if decision is not None}
    return Table(rules, tuple(shadowed), fixed)


def _resolve(rules: Mapping[str, Rule], host: str) -> ToRevision | None:
    """The decision for ``host`` where it depends on nothing else."""
    seen, name = Table(rules), host
    for _ in range(DEPTH):
        rule = rules.get(name)
        if rule is None or len(rule.paths) != 1:
            return None
        (path,) = rule.paths
        if path.prefix != "/" or path.headers or (not path.rewrite_host and len(path.splits) != 1):
            return None
        if not path.rewrite_host or normal_host(path.rewrite_host) == name:
            decision = decide(seen, host, b"/", [], 0.0)
            return decision if isinstance(decision, ToRevision) else None
        name = normal_host(path.rewrite_host)
    return None


def _age(ingress: Obj) -> tuple[str, str, str]:
    metadata = ingress["metadata"]
    return metadata.get("creationTimestamp") or "", metadata.get("namespace", ""), metadata["name"]


def _paths(rule: Obj, namespace: str) -> tuple[_Path, ...]:
    paths = [_path(path, namespace) for path in (rule.get("http") or {}).get("paths") or []]
    return tuple(sorted(paths, key=lambda path: path.rank, reverse=True))


def _path(path: Obj, namespace: str) -> _Path:
    matches = sorted((path.get("headers") or {}).items())
    return _Path(
        prefix=path.get("path") or "/",
        headers=tuple((name.lower().encode(), str(m.get("exact", "")).encode()) for name, m in matches),
        rewrite_host=path.get("rewriteHost") or "",
        appended=_fields(path.get("appendHeaders")),
        splits=tuple(_split(entry, namespace) for entry in path.get("splits") or []),
    )


def _split(entry: Obj, namespace: str) -> _Split:
    appended = _fields(entry.get("appendHeaders"))
    named = {name.decode(): value.decode() for name, value in appended}
    return _Split(
        percent=int(entry.get("percent", 100)),
        namespace=named.get(NAMESPACE_HEADER) or entry.get("serviceNamespace") or namespace,
        revision=named.get(REVISION_HEADER) or entry.get("serviceName") or "",
        appended=appended,
    )


def _fields(headers: Mapping[str, Any] | None) -> Headers:
    return [(name.lower().encode(), str(value).encode()) for name, value in sorted((headers or {}).items())]


def decide(
    table: Table, authority: str, target: bytes, headers: Headers, point: float
) -> ToRevision | NoRoute:
    """Find the revision of a request. ``point`` in [0, 1) chooses among splits."""
    host = normal_host(authority)
    fixed = table.fixed.get(host)
    if fixed is not None:
        return fixed
    path = target.partition(b"?")[0].decode("latin-1")
    appended: Headers = []
    is_inside = is_cluster_name(host)
    for _ in range(DEPTH):
        rule = table.rules.get(host)
        if rule is None or (rule.is_local and not is_inside):
            return NoRoute(Miss.UNKNOWN_HOST, host)
        chosen = next((p for p in rule.paths if _matches(p, path, headers)), None)
        if chosen is None:
            return NoRoute(Miss.NO_PATH, host)
        appended = [*appended, *chosen.appended]
        if chosen.rewrite_host and normal_host(chosen.rewrite_host) != host:
            host = normal_host(chosen.rewrite_host)
            is_inside = True
            continue
        return _pick(chosen, host, appended, point)
    return NoRoute(Miss.LOOP, host)


def _pick(path: _Path, host: str, appended: Headers, point: float) -> ToRevision | NoRoute:
    splits = path.splits
    if not splits or sum(entry.percent for entry in splits) <= 0:
        return NoRoute(Miss.NO_SPLIT, host)
    if len(splits) == 1:
        entry = splits[0]
    else:
        name = split.choose([(str(i), entry.percent) for i, entry in enumerate(splits)], point)
        entry = splits[int(name)]
    merged = dict([*appended, *entry.appended])
    return ToRevision(entry.namespace, entry.revision, tuple(merged.items()), host)


def _matches(path: _Path, target: str, headers: Headers) -> bool:
    prefix = path.prefix
    if prefix != "/" and not (
        target == prefix or target.startswith(prefix if prefix.endswith("/") else prefix + "/")
    ):
        return False
    return all(field in headers for field in path.headers)
