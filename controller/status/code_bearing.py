"""The condition ``ModelRunsCode``: a predictor's model file runs code of whoever made it when it is loaded.

Called by ``plan``. What is known: the storage initializer's last words about the files it brought, in the status of the
newest revision's pod; else a file that ``storageUri`` itself names. A folder of a claim (``pvc://``) is mounted without
being looked at: of it only the format is known, which is enough where all its files run code; else the server's log says
it. The condition is a warning (severity Warning):
Ready does not depend on it. Invariant: with no pod (asleep) the condition stays what it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from controller.desired.reasons import Reason
from controller.desired.rollout import Rollout
from controller.status import waiting
from wakeful.core.api import code_bearing, conditions
from wakeful.core.api import isvc_names as names
from wakeful.core.api.code_bearing import Policy
from wakeful.core.api.conditions import Condition
from wakeful.core.api.inferenceservice import ModelSpec
from wakeful.core.api.isvc_problem import Obj, mapping, mappings, text

TYPE = "ModelRunsCode"
WARNING = "Warning"


def condition(
    model: ModelSpec | None, pods: Sequence[Obj], rollout: Rollout, before: Obj, policy: Policy
) -> Condition | None:
    """The condition, None where there is nothing to warn of; ``before`` is the previous status."""
    if model is None or policy is not Policy.WARN:
        return None
    pod = waiting.newest(pods, rollout.latest_created)
    brought = None if pod is None else _brought(pod)
    is_claim = model.storage_uri.startswith("pvc://")
    if brought is None and not is_claim:
        was = conditions.read(before, TYPE)
        if was.is_true:
            return was
    found = brought if brought is not None else [model.storage_uri.rpartition("/")[2]]
    bearing = [name for name in found if code_bearing.is_code_bearing(name, model.format_name)]
    if not bearing and brought is None and is_claim and model.format_name in code_bearing.WHOLLY:
        bearing = [f"the {model.format_name} model in {model.storage_uri}"]
    if not bearing:
        return None
    message = (
        f"{', '.join(bearing)}: loading it runs code of whoever made it. Save the model in a format that is only data, or "
        "say Allow or Refuse as codeBearingModels in the key security of the ConfigMap inferenceservice-config"
    )
    return Condition(TYPE, conditions.TRUE, Reason.CODE_BEARING_FORMAT, message, WARNING)


def _brought(pod: Obj) -> list[str] | None:
    """What the storage initializer of this pod says it brought; None where it says nothing (yet)."""
    for container in mappings(mapping(pod.get("status")).get("initContainerStatuses")):
        if container.get("name") == names.STORAGE_INITIALIZER:
            return code_bearing.parse(
                text(mapping(mapping(container.get("state")).get("terminated")).get("message"))
            )
    return None
