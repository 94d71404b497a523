"""What Kubernetes checks in the kinds that make pods (Deployment ... CronJob) and in autoscalers, beyond types.

Called by ``core_checks``; the template's pod is checked by ``core_checks_pod``. Left out: the rarer rules of
StatefulSet claims and of indexed Jobs.

Invariant: total on any JSON; an object that a real API server takes is never refused here.
"""

from __future__ import annotations

import re
from typing import Any

from standalone.apiserver.schema import failure
from standalone.apiserver.schema.core_checks_pod import check_labels, check_pod_spec, part
from standalone.apiserver.schema.core_defaults_pod import dicts
from standalone.apiserver.schema.failure import FieldError

Obj = dict[str, Any]
Errors = list[FieldError]
_PERCENT = re.compile(r"\d+%")
_PERCENT_RULE = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for "
    "validation is '[0-9]+%')"
)
_CRON_FIELD = re.compile(r"[-*/,?0-9A-Za-z#]+")
_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def check_not_negative(holder: Obj, path: str, keys: tuple[str, ...], errors: Errors) -> None:
    """Whole numbers that may not be below zero."""
    for key in keys:
        value = holder.get(key)
        if isinstance(value, int) and value < 0:
            errors.append(failure.invalid(f"{path}.{key}", value, "must be greater than or equal to 0"))


def check_selector(selector: Obj, path: str, errors: Errors) -> None:
    """The expressions of a label selector."""
    check_labels(part(selector, "matchLabels"), f"{path}.matchLabels", errors)
    for number, rule in enumerate(dicts(selector.get("matchExpressions"))):
        where = f"{path}.matchExpressions[{number}]"
        operator, values = rule.get("operator"), rule.get("values")
        if operator in ("In", "NotIn") and not values:
            why = "must be specified when `operator` is 'In' or 'NotIn'"
            errors.append(failure.required(f"{where}.values", why))
        elif operator in ("Exists", "DoesNotExist") and values:
            why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            errors.append(failure.forbidden(f"{where}.values", why))


def _scaled(spec: Obj, noun: str, errors: Errors) -> None:
    """What all kinds with a selector and a template share."""
    check_not_negative(spec, "spec", ("replicas", "minReadySeconds", "revisionHistoryLimit"), errors)
    template, selector = part(spec, "template"), part(spec, "selector")
    wanted = part(selector, "matchLabels")
    labels = part(part(template, "metadata"), "labels")
    check_selector(selector, "spec.selector", errors)
    if spec.get("selector") is not None and not wanted and not selector.get("matchExpressions"):
        errors.append(failure.invalid("spec.selector", selector, f"empty selector is invalid for {noun}"))
    check_labels(labels, "spec.template.labels", errors)
    if any(labels.get(key) != value for key, value in wanted.items()):
        why = "`selector` does not match template `labels`"
        errors.append(failure.invalid("spec.template.metadata.labels", labels or None, why))
    pod = part(template, "spec")
    if pod:
        check_pod_spec(pod, "spec.template.spec", errors)
    elif "template" in spec:
        errors.append(failure.required("spec.template.spec.containers"))
    if isinstance(pod.get("activeDeadlineSeconds"), int):
        why = "activeDeadlineSeconds in ReplicaSet is not Supported"
        errors.append(failure.forbidden("spec.template.spec.activeDeadlineSeconds", why))
    policy = pod.get("restartPolicy")
    if policy in ("Never", "OnFailure"):
        errors.append(failure.not_supported("spec.template.spec.restartPolicy", policy, ["Always"]))


def check_deployment(obj: Obj, errors: Errors) -> None:
    """A Deployment."""
    spec = part(obj, "spec")
    _scaled(spec, "deployment", errors)
    strategy, where = part(spec, "strategy"), "spec.strategy"
    if strategy.get("type") == "Recreate" and strategy.get("rollingUpdate"):
        why = "may not be specified when strategy `type` is 'Recreate'"
        errors.append(failure.forbidden(f"{where}.rollingUpdate", why))
    _rolling(part(strategy, "rollingUpdate"), f"{where}.rollingUpdate", errors)
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds", 0)
    if isinstance(deadline, int) and isinstance(ready, int):
        check_not_negative(spec, "spec", ("progressDeadlineSeconds",), errors)
        if deadline <= ready:
            path = "spec.progressDeadlineSeconds"
            errors.append(failure.invalid(path, deadline, "must be greater than minReadySeconds"))


def check_replica_set(obj: Obj, errors: Errors) -> None:
    """A ReplicaSet."""
    _scaled(part(obj, "spec"), "deployment", errors)  # the noun is Kubernetes' own slip


def check_stateful_set(obj: Obj, errors: Errors) -> None:
    """A StatefulSet; its claims are volumes of its pods."""
    spec = part(obj, "spec")
    claims: list[Obj] = [
        {"name": part(claim, "metadata").get("name"), "emptyDir": {}}
        for claim in dicts(spec.get("volumeClaimTemplates"))
    ]
    template = part(spec, "template")
    pod = part(template, "spec")
    if claims and pod:
        named = {claim["name"] for claim in claims}
        others = [one for one in dicts(pod.get("volumes")) if one.get("name") not in named]
        spec = {**spec, "template": {**template, "spec": {**pod, "volumes": [*others, *claims]}}}
    _scaled(spec, "statefulset", errors)
    policy, strategy = spec.get("podManagementPolicy"), part(spec, "updateStrategy").get("type")
    if policy not in (None, "", "OrderedReady", "Parallel"):
        why = "must be 'OrderedReady' or 'Parallel'"
        errors.append(failure.invalid("spec.podManagementPolicy", policy, why))
    if strategy not in (None, "", "RollingUpdate", "OnDelete"):
        why = "must be 'RollingUpdate' or 'OnDelete'"
        errors.append(failure.invalid("spec.updateStrategy", _strategy(strategy), why))


def _strategy(name: str) -> Obj:
    """A strategy as messages show it: the whole of Go's value."""
    return {"Type": name, "RollingUpdate": None}


def check_daemon_set(obj: Obj, errors: Errors) -> None:
    """A DaemonSet."""
    spec = part(obj, "spec")
    _scaled(spec, "daemonset", errors)
    strategy = part(spec, "updateStrategy").get("type")
    if strategy not in (None, "", "RollingUpdate", "OnDelete"):
        known = ["RollingUpdate", "OnDelete"]
        errors.append(failure.not_supported("spec.updateStrategy", _strategy(strategy), known))
    where = "spec.updateStrategy.rollingUpdate"
    _rolling(part(part(spec, "updateStrategy"), "rollingUpdate"), where, errors)


def _rolling(rolling: Obj, path: str, errors: Errors) -> None:
    amounts = {}
    for key in ("maxUnavailable", "maxSurge"):
        value = rolling.get(key)
        if isinstance(value, str):
            if not _PERCENT.fullmatch(value):
                errors.append(failure.invalid(f"{path}.{key}", value, _PERCENT_RULE))
                continue
            amounts[key] = int(value[:-1])
        elif isinstance(value, int):
            check_not_negative(rolling, path, (key,), errors)
            amounts[key] = value
    if amounts.get("maxUnavailable") == 0 and amounts.get("maxSurge") == 0:
        why = "may not be 0 when `maxSurge` is 0"
        errors.append(failure.invalid(f"{path}.maxUnavailable", rolling["maxUnavailable"], why))
    if isinstance(rolling.get("maxUnavailable"), str) and amounts.get("maxUnavailable", 0) > 100:
        why = "must not be greater than 100%"
        errors.append(failure.invalid(f"{path}.maxUnavailable", rolling["maxUnavailable"], why))


def check_job(obj: Obj, errors: Errors) -> None:
    """A Job."""
    _job_spec(part(obj, "spec"), "spec", errors)


def _job_spec(spec: Obj, path: str, errors: Errors) -> None:
    keys = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
    check_not_negative(spec, path, keys, errors)
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        why = "when completion mode is Indexed"
        errors.append(failure.required(f"{path}.completions", why))
    template = part(spec, "template")
    pod, where = part(template, "spec"), f"{path}.template.spec"
    check_labels(part(part(template, "metadata"), "labels"), f"{path}.template.metadata.labels", errors)
    if not pod:
        return
    if pod.get("restartPolicy") == "Always":
        errors.append(failure.required(f"{where}.restartPolicy", 'valid values: "OnFailure", "Never"'))
    check_pod_spec(pod, where, errors)


def check_cron_job(obj: Obj, errors: Errors) -> None:
    """A CronJob."""
    spec = part(obj, "spec")
    schedule = spec.get("schedule")
    if schedule == "":
        errors.append(failure.required("spec.schedule"))
    elif isinstance(schedule, str) and (why := _schedule_problem(schedule)):
        errors.append(failure.invalid("spec.schedule", schedule, why))
    keys = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
    check_not_negative(spec, "spec", keys, errors)
    name = part(obj, "metadata").get("name")
    if isinstance(name, str) and len(name) > 52:
        errors.append(failure.invalid("metadata.name", name, "must be no more than 52 characters"))
    _job_spec(part(part(spec, "jobTemplate"), "spec"), "spec.jobTemplate.spec", errors)


def _schedule_problem(schedule: str) -> str:
    if "TZ" in schedule:
        return "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
    if schedule.startswith("@"):
        known = schedule in _MACROS or schedule.startswith("@every ")
        return "" if known else f"unrecognized descriptor: {schedule}"
    fields = schedule.split()
    if len(fields) != 5:
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    bad = next((field for field in fields if not _CRON_FIELD.fullmatch(field)), None)
    return "" if bad is None else f"failed to parse {bad!r}"


def check_autoscaler(obj: Obj, errors: Errors) -> None:
    """A HorizontalPodAutoscaler."""
    spec = part(obj, "spec")
    low, high = spec.get("minReplicas"), spec.get("maxReplicas")
    if isinstance(low, int) and low < 1:
        errors.append(failure.invalid("spec.minReplicas", low, "must be greater than or equal to 1"))
    if isinstance(high, int) and high < 1:
        errors.append(failure.invalid("spec.maxReplicas", high, "must be greater than 0"))
    if isinstance(low, int) and isinstance(high, int) and high < low:
        why = "must be greater than or equal to `minReplicas`"
        errors.append(failure.invalid("spec.maxReplicas", high, why))
    target = part(spec, "scaleTargetRef")
    for key in ("kind", "name"):
        value = target.get(key)
        if target and not value:
            errors.append(failure.required(f"spec.scaleTargetRef.{key}"))
        elif isinstance(value, str):
            errors += [
                failure.invalid(f"spec.scaleTargetRef.{key}", value, f"may not contain '{char}'")
                for char in "/%"
                if char in value
            ]
    version = target.get("apiVersion") or ""
    if target and target.get("kind") != "ReplicationController" and "/" not in str(version):
        why = "apiVersion must specify API group"
        errors.append(failure.invalid("spec.scaleTargetRef.apiVersion", version, why))
    for number, metric in enumerate(dicts(spec.get("metrics"))):
        _metric(metric, f"spec.metrics[{number}]", errors)


_METRICS = ("ContainerResource", "External", "Object", "Pods", "Resource")


def _metric(metric: Obj, path: str, errors: Errors) -> None:
    kind = metric.get("type")
    if kind not in _METRICS:
        errors.append(failure.not_supported(f"{path}.type", kind or "", list(_METRICS)))
        return
    field = kind[0].lower() + kind[1:]
    if not isinstance(metric.get(field), dict):
        why = "must populate information for the given metric source"
        errors.append(failure.required(f"{path}.{field}", why))
        return
    target = part(metric[field], "target")
    if kind == "Resource" and target.get("averageUtilization") is None and target.get("averageValue") is None:
        why = "must set either a target raw value or a target utilization"
        errors.append(failure.required(f"{path}.{field}.target.averageUtilization", why))


def check_budget(obj: Obj, errors: Errors) -> None:
    """A PodDisruptionBudget."""
    spec = part(obj, "spec")
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        why = "minAvailable and maxUnavailable cannot be both set"
        errors.append(failure.invalid("spec", spec, why))
    check_not_negative(spec, "spec", ("minAvailable", "maxUnavailable"), errors)
    for key in ("minAvailable", "maxUnavailable"):
        value = spec.get(key)
        if isinstance(value, str) and not _PERCENT.fullmatch(value):
            errors.append(failure.invalid(f"spec.{key}", value, _PERCENT_RULE))
        elif isinstance(value, str) and int(value[:-1]) > 100:
            errors.append(failure.invalid(f"spec.{key}", value, "must not be greater than 100%"))
    check_selector(part(spec, "selector"), "spec.selector", errors)
