"""Which serving runtime serves a model: by name, or the best that lists its format.

Called by ``desired.predictor``, and by the validating webhook for its warning. Theory (KServe behaviour page section
2.3): namespaced runtimes come before cluster ones whatever their priority; within a scope the highest priority for the
format wins, then the lowest protocol, then the newest, then the name. Worked example: sklearn without a protocol,
``kserve-sklearnserver`` (p1, v1 v2) and ``kserve-mlserver`` (p2, v2): the request counts as v1, so only the first fits.

Invariant: the same runtimes in any order give the same decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from controller.desired.reasons import Reason, SpecError
from wakeful.core.api import isvc_names as names
from wakeful.core.api.inferenceservice import ModelSpec
from wakeful.core.api.servingruntime import Runtime

DEFAULT_PROTOCOL = "v1"
RUNTIME_AWAITED = "Waiting for runtime to become available"


@dataclass(frozen=True, slots=True)
class RuntimeDecision:
    """The runtime and the protocol that is spoken with it; ``sentence`` says why."""

    runtime: Runtime
    protocol: str
    sentence: str


def decide(
    model: ModelSpec, namespaced: Sequence[Runtime], cluster: Sequence[Runtime], is_multi_model: bool = False
) -> RuntimeDecision:
    """Choose the runtime of ``model``. Raises ``SpecError`` with the reason that clients know."""
    if model.runtime:
        return _decide_named(model, namespaced, cluster)
    ranked = [*_rank(model, namespaced, is_multi_model), *_rank(model, cluster, is_multi_model)]
    if not ranked:
        raise SpecError(
            Reason.NO_SUPPORTING_RUNTIME, _none_fits(model, [*namespaced, *cluster], is_multi_model)
        )
    chosen = ranked[0]
    sentence = f"{chosen.kind} {chosen.name} serves {_format(model)}; {len(ranked)} fit"
    return RuntimeDecision(chosen, _protocol(model, chosen), sentence)


def _decide_named(
    model: ModelSpec, namespaced: Iterable[Runtime], cluster: Iterable[Runtime]
) -> RuntimeDecision:
    found = next((item for item in (*namespaced, *cluster) if item.name == model.runtime), None)
    if found is None:
        message = (
            f"{RUNTIME_AWAITED}: there is no ServingRuntime or ClusterServingRuntime named {model.runtime}"
        )
        raise SpecError(Reason.RUNTIME_NOT_RECOGNIZED, message)
    if found.is_disabled:
        raise SpecError(Reason.RUNTIME_DISABLED, f"{found.kind} {found.name} is disabled")
    if model.protocol and not found.supports_protocol(model.protocol):
        message = f"{found.kind} {found.name} does not support protocol {model.protocol}; it has {', '.join(found.protocols)}"
        raise SpecError(Reason.NO_SUPPORTING_RUNTIME, message)
    if not any(_matches(model, item.name, item.version) for item in found.formats):
        listed = ", ".join(sorted({item.name for item in found.formats})) or "none"
        message = (
            f"{found.kind} {found.name} does not support the model format {_format(model)}; it lists {listed}"
        )
        raise SpecError(Reason.NO_SUPPORTING_RUNTIME, message)
    return RuntimeDecision(found, _protocol(model, found), f"{found.kind} {found.name} is named by the spec")


def _rank(model: ModelSpec, runtimes: Iterable[Runtime], is_multi_model: bool) -> list[Runtime]:
    protocol = model.protocol or DEFAULT_PROTOCOL
    fitting = [item for item in runtimes if _fits(model, item, protocol, is_multi_model)]
    # Newest first, then by name: two stable sorts, the less important one first.
    ordered = sorted(
        sorted(fitting, key=lambda item: item.name), key=lambda item: item.created_at, reverse=True
    )
    ordered.sort(key=_protocol_rank)
    ordered.sort(key=lambda item: _priority_rank(item.priority_of(model.format_name)))
    return ordered


def _fits(model: ModelSpec, runtime: Runtime, protocol: str, is_multi_model: bool) -> bool:
    return (
        not runtime.is_disabled
        and runtime.is_multi_model == is_multi_model
        and not runtime.is_multi_node
        and runtime.supports_protocol(protocol)
        and any(item.is_auto_select and _matches(model, item.name, item.version) for item in runtime.formats)
    )


def _matches(model: ModelSpec, name: str, version: str) -> bool:
    """A requested version must be listed; an unrequested one matches any."""
    return name == model.format_name and (not model.format_version or version == model.format_version)


def _protocol_rank(runtime: Runtime) -> int:
    lowest = runtime.lowest_protocol()
    return len(names.PROTOCOLS) if lowest is None else names.PROTOCOLS.index(lowest)


def _priority_rank(priority: int | None) -> float:
    return float("inf") if priority is None else -priority


def _protocol(model: ModelSpec, runtime: Runtime) -> str:
    return model.protocol or runtime.lowest_protocol() or DEFAULT_PROTOCOL


def _format(model: ModelSpec) -> str:
    return f"{model.format_name}:{model.format_version}" if model.format_version else model.format_name


def _none_fits(model: ModelSpec, runtimes: Sequence[Runtime], is_multi_model: bool) -> str:
    """One sentence that says how near the nearest runtime came."""
    protocol = model.protocol or DEFAULT_PROTOCOL
    named = [item for item in runtimes if any(entry.name == model.format_name for entry in item.formats)]
    head = f"No runtime found to support the model format {_format(model)} with protocol {protocol}"
    if not named:
        known = sorted({entry.name for item in runtimes if not item.is_disabled for entry in item.formats})
        return f"{head}; the runtimes here support {', '.join(known) or 'no format at all'}"
    faults = [f"{item.name} {_fault(model, item, protocol, is_multi_model)}" for item in named[:4]]
    return f"{head}: {'; '.join(faults)}"


def _fault(model: ModelSpec, runtime: Runtime, protocol: str, is_multi_model: bool) -> str:
    if runtime.is_disabled:
        return "is disabled"
    if not runtime.supports_protocol(protocol):
        return f"speaks only {', '.join(runtime.protocols)}"
    matching = [item for item in runtime.formats if _matches(model, item.name, item.version)]
    if not matching:
        versions = sorted({item.version for item in runtime.formats if item.name == model.format_name})
        return f"has only version {', '.join(versions)}"
    if not any(item.is_auto_select for item in matching):
        return f"is not selected automatically (name it: runtime: {runtime.name})"
    if runtime.is_multi_node:
        return "is for several nodes"
    return "is for several models" if not is_multi_model else "is for a single model"
