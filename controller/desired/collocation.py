"""A transformer in the predictor's own pod: the container ``transformer-container`` answers, ``kserve-container`` listens beside it.

Called by ``desired.predictor`` and ``desired.custom`` once the predictor's containers are merged. Knative sends requests to
the one container that has ports and lets only that one have probes, so both move to the transformer. The two share
the pod's network: a predictor of Wakeful's that would listen on the transformer's port gets another one. Source:
KServe behaviour page section 2.3.5. Invariant: exactly one container has ports.
"""

from __future__ import annotations

from controller.desired import images, inprocess
from controller.desired.reasons import Reason, SpecError
from wakeful.core.api import isvc_names as names
from wakeful.core.api.inferenceservice import InferenceService
from wakeful.core.api.isvc_problem import Obj, mappings

DEFAULT_PORT = 8080
BESIDE_PORT = 8085
PROBES = ("readinessProbe", "livenessProbe", "startupProbe")


def arrange(service: InferenceService, containers: list[Obj], protocol: str) -> list[Obj]:
    """``containers`` (main first) so that the transformer serves, where there is one. Raises ``SpecError``."""
    place = next(
        (i for i, item in enumerate(containers) if item.get("name") == names.TRANSFORMER_CONTAINER), None
    )
    if place is None or place == 0:
        return containers
    main, transformer = containers[0], containers[place]
    ports = mappings(transformer.get("ports")) or [{"containerPort": DEFAULT_PORT, "protocol": "TCP"}]
    front = int(ports[0].get("containerPort") or DEFAULT_PORT)
    main, behind = _beside(main, front)
    flags = [("--model_name", service.name), ("--http_port", str(front))]
    if behind is not None:
        flags.append(("--predictor_host", f"localhost:{behind}"))
    if protocol != "v1":
        flags.append(("--predictor_protocol", protocol))
    transformer = {**inprocess.with_flags(transformer, flags), "ports": ports}
    main = {key: value for key, value in main.items() if key != "ports" and key not in PROBES}
    others = [item for i, item in enumerate(containers) if i not in (0, place)]
    return [main, transformer, *others]


def _beside(main: Obj, front: int) -> tuple[Obj, int | None]:
    """The predictor's container and the port it listens on, which is not ``front``; None where nothing says which."""
    is_ours = images.is_wakefuls(str(main.get("image") or ""))
    declared = [int(item.get("containerPort") or 0) for item in mappings(main.get("ports"))]
    port = _flag(main, "--http_port") or (declared[0] if declared else DEFAULT_PORT if is_ours else None)
    if port != front:
        return main, port
    if not is_ours:
        message = (
            f"{names.MAIN_CONTAINER} and {names.TRANSFORMER_CONTAINER} share a pod and would both listen on port {front}: "
            f"give {names.MAIN_CONTAINER} another one by its args, such as --http_port={BESIDE_PORT}"
        )
        raise SpecError(Reason.INVALID_PREDICTOR_SPEC, message)
    port = BESIDE_PORT if front != BESIDE_PORT else BESIDE_PORT + 1
    return {**main, "args": [*(main.get("args") or []), f"--http_port={port}"]}, port


def _flag(container: Obj, name: str) -> int | None:
    """The number that the last ``name`` among the args says."""
    found = None
    words = [str(item) for item in container.get("args") or []]
    for place, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag.replace("-", "_") == name.replace("-", "_"):
            value = value or (words[place + 1] if place + 1 < len(words) else "")
            found = int(value) if value.isdigit() else found
    return found
