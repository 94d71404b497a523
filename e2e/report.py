"""What a failed scenario prints about its namespace: objects, conditions that are not True, events, pods' last words.

Called by conftest when a scenario has failed. Never raises: a report that fails says so and the failure itself stands.
"""

from __future__ import annotations

import subprocess

from e2e.kube import Kube

KINDS = "isvc,ksvc,configuration,revision,route,deployment,pods,pvc,broker,trigger"
LOG_LINES = 25
REPORT_LIMIT_S = 20


def describe(kube: Kube, namespace: str) -> str:
    """The state of a namespace as text for a person."""
    parts = [
        _say(kube, "get", KINDS, "-n", namespace, "-o", "wide"),
        _say(kube, "get", "events", "-n", namespace, "--sort-by=.lastTimestamp"),
    ]
    try:
        for isvc in kube.items("InferenceService", namespace):
            for entry in isvc.get("status", {}).get("conditions", []):
                if entry["status"] != "True":
                    parts.append(
                        f"{isvc['metadata']['name']}: {entry['type']} is {entry['status']}, "
                        f"{entry.get('reason', '')}: {entry.get('message', '')}"
                    )
        for pod in kube.items("Pod", namespace):
            name = pod["metadata"]["name"]
            states = pod.get("status", {}).get("containerStatuses", [])
            ended = [
                entry["state"]["terminated"] for entry in states if "terminated" in entry.get("state", {})
            ]
            parts += [f"{name} ended: {state}" for state in ended]
            parts.append(
                f"--- logs of {name}\n"
                + _say(
                    kube, "logs", name, "-n", namespace, "--all-containers", "--prefix", f"--tail={LOG_LINES}"
                )
            )
    except AssertionError as error:
        parts.append(f"(no more: {error})")
    return "\n".join(parts)


def _say(kube: Kube, *arguments: str) -> str:
    try:
        return kube.kubectl(*arguments, check=False, limit_s=REPORT_LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"(kubectl {arguments[0]} took over {REPORT_LIMIT_S} s)"
