"""What Kubernetes checks in where a pod may run: tolerations, node affinity, spreading, gates; and its names for hosts.

Called by ``core_checks_pod`` for pods and templates. Left out: pod affinity, preferred terms, resource claims.

Invariant: total on any JSON; a pod that a real API server takes is never refused here.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from standalone.apiserver import selectors
from standalone.apiserver.schema import failure
from standalone.apiserver.schema.core_defaults_pod import dicts
from standalone.apiserver.schema.failure import FieldError

Obj = dict[str, Any]
Errors = list[FieldError]
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def is_address(text: Any) -> bool:
    """Whether a text is an IP address, version 4 or 6."""
    try:
        ipaddress.ip_address(text if isinstance(text, str) else "")
    except ValueError:
        return False
    return True


def check_address(text: Any, path: str, errors: Errors) -> None:
    """An IP address."""
    if not is_address(text):
        errors.append(failure.invalid(path, text, _ADDRESS))


def check_scheduling(spec: Obj, path: str, errors: Errors) -> None:
    """The parts of a pod's spec that this module knows."""
    _dns(spec, path, errors)
    _affinity(spec.get("affinity"), f"{path}.affinity", errors)
    for number, alias in enumerate(dicts(spec.get("hostAliases"))):
        check_address(alias.get("ip", ""), f"{path}.hostAliases[{number}].ip", errors)
    for number, toleration in enumerate(dicts(spec.get("tolerations"))):
        _toleration(toleration, f"{path}.tolerations[{number}]", errors)
    for number, spread in enumerate(dicts(spec.get("topologySpreadConstraints"))):
        _spread(spread, f"{path}.topologySpreadConstraints[{number}]", errors)
    for number, gate in enumerate(dicts(spec.get("schedulingGates"))):
        name = gate.get("name", "")
        if isinstance(name, str) and (why := selectors.label_key_problem(name)):
            errors.append(failure.invalid(f"{path}.schedulingGates[{number}]", name, why))
    system = spec.get("os")
    if isinstance(system, dict) and system.get("name") not in ("linux", "windows"):
        errors.append(failure.not_supported(f"{path}.os", system.get("name", ""), ["linux", "windows"]))


def _dns(spec: Obj, path: str, errors: Errors) -> None:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") != "None":
        return
    if not isinstance(config, dict):
        why = "must provide `dnsConfig` when `dnsPolicy` is None"
        errors.append(failure.required(f"{path}.dnsConfig", why))
    elif not config.get("nameservers"):
        why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        errors.append(failure.required(f"{path}.dnsConfig.nameservers", why))


def _toleration(toleration: Obj, path: str, errors: Errors) -> None:
    key, operator, effect = toleration.get("key"), toleration.get("operator"), toleration.get("effect")
    if isinstance(key, str) and key and (why := selectors.label_key_problem(key)):
        errors.append(failure.invalid(f"{path}.key", key, why))
    if not key and operator != "Exists":
        why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        errors.append(failure.invalid(f"{path}.operator", operator or "", why))
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        errors.append(failure.invalid(f"{path}.effect", effect or "", why))
    value = toleration.get("value")
    if operator == "Exists" and value:
        errors.append(
            failure.invalid(f"{path}.operator", value, "value must be empty when `operator` is 'Exists'")
        )
    elif operator in ("", None, "Equal"):
        if isinstance(value, str) and (why := selectors.label_value_problem(value)):
            errors.append(failure.invalid(f"{path}.operator", value, why))
    elif operator != "Exists":
        errors.append(failure.not_supported(f"{path}.operator", operator, ["Equal", "Exists"]))
    if effect and effect not in _EFFECTS:
        errors.append(failure.not_supported(f"{path}.effect", effect, list(_EFFECTS)))


def _affinity(affinity: Any, path: str, errors: Errors) -> None:
    node = affinity.get("nodeAffinity") if isinstance(affinity, dict) else None
    wanted = node.get("requiredDuringSchedulingIgnoredDuringExecution") if isinstance(node, dict) else None
    if not isinstance(wanted, dict):
        return
    where = f"{path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    terms = list(dicts(wanted.get("nodeSelectorTerms")))
    if not terms:
        errors.append(failure.required(where, "must have at least one node selector term"))
    for number, term in enumerate(terms):
        for at, rule in enumerate(dicts(term.get("matchExpressions"))):
            _expression(rule, f"{where}[{number}].matchExpressions[{at}]", errors)


def _expression(rule: Obj, path: str, errors: Errors) -> None:
    operator, values = rule.get("operator"), rule.get("values")
    count = len(values) if isinstance(values, list) else 0
    if operator in ("In", "NotIn") and not count:
        why = "must be specified when `operator` is 'In' or 'NotIn'"
        errors.append(failure.required(f"{path}.values", why))
    elif operator in ("Exists", "DoesNotExist") and count:
        why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        errors.append(failure.forbidden(f"{path}.values", why))
    elif operator in ("Gt", "Lt") and count != 1:
        why = "must be specified single value when `operator` is 'Lt' or 'Gt'"
        errors.append(failure.required(f"{path}.values", why))


def _spread(spread: Obj, path: str, errors: Errors) -> None:
    skew, when = spread.get("maxSkew"), spread.get("whenUnsatisfiable")
    if isinstance(skew, int) and skew <= 0:
        errors.append(failure.invalid(f"{path}.maxSkew", skew, "must be greater than zero"))
    if not spread.get("topologyKey"):
        errors.append(failure.required(f"{path}.topologyKey", "can not be empty"))
    if when not in ("DoNotSchedule", "ScheduleAnyway"):
        known = ["DoNotSchedule", "ScheduleAnyway"]
        errors.append(failure.not_supported(f"{path}.whenUnsatisfiable", when or "", known))
