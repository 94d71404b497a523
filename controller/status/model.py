"""``status.modelStatus``: is the model loaded, loading, asleep, or why not; read from the newest revision's pods.

Called by ``plan``. Source: KServe behaviour page section 2.7, section 6, items 6 to 9. Done better than there: a
crashing container stays ``FailedToLoad`` between its restarts instead of flipping, a stale failure is cleared when the
model is up to date, terminating pods are not counted, and a model scaled to zero is ``Standby`` and up to date instead
of ``Pending``. Invariant: the same pods give the same status, except for the time of a failure seen first now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from controller.desired.reasons import Reason
from controller.desired.rollout import Rollout
from controller.observed import Failure
from controller.status import waiting
from controller.status.components import OUT_OF_TIME
from wakeful.core.api import conditions
from wakeful.core.api import isvc_names as names
from wakeful.core.api.isvc_problem import Obj, integer, mapping, mappings, text

UP_TO_DATE = "UpToDate"
IN_PROGRESS = "InProgress"
BLOCKED = "BlockedByFailedLoad"
INVALID = "InvalidSpec"

LOADED = "Loaded"
LOADING = "Loading"
PENDING = "Pending"
STANDBY = "Standby"
FAILED = "FailedToLoad"

MESSAGE_LIMIT = 1024

KNOWN_REASONS = (
    Reason.MODEL_LOAD_FAILED,
    Reason.RUNTIME_DISABLED,
    Reason.NO_SUPPORTING_RUNTIME,
    Reason.RUNTIME_NOT_RECOGNIZED,
    Reason.INVALID_PREDICTOR_SPEC,
)
"""The values KServe's clients know for ``lastFailureInfo.reason``; the condition says it more exactly."""


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """For ``lastFailureInfo``; ``exit_code`` and ``time`` where a container told them."""

    reason: str
    message: str
    exit_code: int | None = None
    time: str = ""
    location: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """The target model's state, the transition, and what failed."""

    target: str
    transition: str
    failure: LoadFailure | None = None


def decide(service: Obj | None, rollout: Rollout, pods: Sequence[Obj]) -> State:
    """The state of the newest revision's model."""
    status = mapping(mapping(service).get("status"))
    is_settled = conditions.read(status, "Ready").is_true and rollout.latest_created == rollout.latest_ready
    newest = waiting.newest(pods, rollout.latest_created)
    if newest is None:
        failed = next((item for item in _read_all(status) if item.is_false), None)
        if failed is not None:
            return State(
                FAILED, BLOCKED, LoadFailure(Reason.MODEL_LOAD_FAILED, failed.message or failed.reason)
            )
        return State(STANDBY, UP_TO_DATE) if is_settled else State(PENDING, IN_PROGRESS)
    pod = mapping(newest.get("status"))
    initializer = _container(pod, "initContainerStatuses", names.STORAGE_INITIALIZER)
    failure = _failure(initializer, newest)
    if failure is not None:
        return State(FAILED, BLOCKED, failure)
    if _is_busy(initializer):
        return State(LOADING, IN_PROGRESS)
    main = _container(pod, "containerStatuses", names.MAIN_CONTAINER)
    failure = _failure(main, newest)
    if is_settled and (_is_ready(newest) or failure is None):
        return State(LOADED, UP_TO_DATE)
    # the pod's word, not the container's: beside queue-proxy a container counts as ready as soon as it runs
    if failure is not None and not _is_ready(newest):
        return State(FAILED, BLOCKED, _with_source(failure, newest))
    return State(PENDING, IN_PROGRESS)


def render(state: State, rollout: Rollout, pods: Sequence[Obj], before: Obj, at: str) -> Obj:
    """``status.modelStatus``. ``before`` keeps the state of the model that still serves, and the failure's time."""
    states = {"activeModelState": _active(state, before), "targetModelState": state.target}
    rendered: Obj = {"transitionStatus": state.transition, "states": states}
    running = [pod for pod in pods if _is_ready(pod)]
    rendered["copies"] = {"failedCopies": int(state.failure is not None), "totalCopies": len(running)}
    if state.failure is not None:
        rendered["lastFailureInfo"] = _info(state.failure, rollout.latest_created, before, at)
        old = mapping(before.get("lastFailureInfo"))
        if OUT_OF_TIME in state.failure.message and old.get("modelRevisionName") == rollout.latest_created:
            rendered["lastFailureInfo"] = (
                old  # what the revision's own pod said is worth more than the deadline
            )
    return rendered


def render_invalid(failure: Failure, before: Obj, at: str) -> Obj:
    """``status.modelStatus`` when the spec cannot be built; what still serves stays the active model."""
    reason = failure.reason if failure.reason in KNOWN_REASONS else Reason.INVALID_PREDICTOR_SPEC
    cause = LoadFailure(reason, failure.message)
    state = State(FAILED, INVALID, cause)
    rendered: Obj = {
        "transitionStatus": INVALID,
        "states": {"activeModelState": _active(state, before), "targetModelState": FAILED},
        "copies": mapping(before.get("copies")) or {"failedCopies": 0, "totalCopies": 0},
        "lastFailureInfo": _info(cause, "", before, at),
    }
    return rendered


def _active(state: State, before: Obj) -> str:
    if state.transition == UP_TO_DATE:
        return state.target
    return text(mapping(before.get("states")).get("activeModelState"))


def _info(failure: LoadFailure, revision: str, before: Obj, at: str) -> Obj:
    info: Obj = {"reason": str(failure.reason), "message": failure.message[:MESSAGE_LIMIT]}
    if failure.location:
        info["location"] = failure.location
    if revision:
        info["modelRevisionName"] = revision
    if failure.exit_code is not None:
        info["exitCode"] = failure.exit_code
    old = mapping(before.get("lastFailureInfo"))
    is_known = all(old.get(key) == value for key, value in info.items())
    info["time"] = failure.time or (text(old.get("time")) if is_known else "") or at
    return info


def _read_all(status: Obj) -> list[conditions.Condition]:
    types = [text(item.get("type")) for item in mappings(status.get("conditions"))]
    return [conditions.read(status, type_) for type_ in types]


def _container(pod_status: Obj, key: str, name: str) -> Obj:
    return next((item for item in mappings(pod_status.get(key)) if item.get("name") == name), {})


def _is_busy(container: Obj) -> bool:
    state = mapping(container.get("state"))
    return bool(container) and ("running" in state or "waiting" in state)


def _failure(container: Obj, pod: Obj) -> LoadFailure | None:
    """The container's failed end: now, or before the restart it waits for or is in."""
    state, last = mapping(container.get("state")), mapping(container.get("lastState"))
    ended = mapping(state.get("terminated")) or mapping(last.get("terminated"))
    code = integer(ended.get("exitCode"))
    held = mapping(state.get("waiting"))
    if code or (ended and text(held.get("reason")) == "CrashLoopBackOff"):
        location = text(mapping(pod.get("metadata")).get("name"))
        what = text(ended.get("message")).strip()
        if not what:
            reason = text(ended.get("reason")) if code else "a model server has to keep running"
            what = f"container {container.get('name')} ended with exit code {code}: {reason}".rstrip(": ")
        return LoadFailure(Reason.MODEL_LOAD_FAILED, what, code, text(ended.get("finishedAt")), location)
    if text(held.get("reason")) in _HOPELESS:
        what = text(held.get("message")) or text(held.get("reason"))
        return LoadFailure(
            Reason.MODEL_LOAD_FAILED, what, location=text(mapping(pod.get("metadata")).get("name"))
        )
    return None


def _with_source(failure: LoadFailure, pod: Obj) -> LoadFailure:
    """The model server sees a mounted folder only; its user wrote a URI."""
    annotations = mapping(mapping(pod.get("metadata")).get("annotations"))
    uri = text(annotations.get(names.SOURCE_URI))
    if not uri or uri in failure.message:
        return failure
    return replace(failure, message=f"{failure.message} (storageUri: {uri})")


_HOPELESS = (
    "CrashLoopBackOff",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
)


def _is_ready(pod: Obj) -> bool:
    if mapping(pod.get("metadata")).get("deletionTimestamp"):
        return False
    return conditions.read(mapping(pod.get("status")), "Ready").is_true
