"""The checks of ``wakeful doctor`` about the controller itself: its replicas, its Lease, its webhooks.

Called by ``doctor_cluster``. ``admission`` is the one check that goes all the way: a valid InferenceService as a dry
run passes the API server, the Service, the certificate and the controller, and is stored nowhere.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

from cryptography import x509

from controller.cache import INFERENCE_SERVICES
from controller.connection import JSON, Api, ApiFailureError
from controller.leader import LEASE_NAME, LEASES
from controller.platform_watch import CONDITION, NAME
from controller.webhooks.authority import CONFIGURATION_NAME, CONFIGURATIONS, FAIL
from wakeful.cli.doctor_report import Check, warning, well, wrong
from wakeful.core.api import conditions
from wakeful.kit.kube import DEPLOYMENTS, Obj

SYSTEM = "wakeful-system"
APPLY = "kubectl apply -k config/default"
SOON_DAYS = 7
TRIAL = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "wakeful-doctor", "namespace": "default"},
    "spec": {"predictor": {"containers": [{"name": "kserve-container", "image": "wakeful/doctor"}]}},
}


async def deployment(api: Api) -> list[Check]:
    """The replicas, and what they say of the platform."""
    found = await api.get(DEPLOYMENTS.path(SYSTEM, NAME))
    if found is None:
        return [wrong("controller", f"no Deployment {NAME} in {SYSTEM}", APPLY)]
    status: Obj = found.get("status") or {}
    ready, wanted = status.get("readyReplicas") or 0, (found.get("spec") or {}).get("replicas", 1)
    image = found["spec"]["template"]["spec"]["containers"][0]["image"]
    told = f"{ready} of {wanted} replicas ready, image {image}"
    todo = f"kubectl describe pods -n {SYSTEM}; kubectl logs -n {SYSTEM} deploy/{NAME}"
    if not ready:
        return [wrong("controller", told, todo)]
    checks = [well("controller", told) if ready >= wanted else warning("controller", told, todo)]
    platform = conditions.read(status, CONDITION)
    if platform.is_false:
        checks.append(
            wrong("controller says", f"{platform.reason}: {platform.message}", "as the sentence says")
        )
    return checks


async def lease(api: Api) -> list[Check]:
    """Who acts, and whether it still does."""
    found = await api.get(LEASES.path(SYSTEM, LEASE_NAME))
    if found is None:
        return [wrong("leader", f"no Lease {LEASE_NAME} in {SYSTEM}: no replica may act", APPLY)]
    spec: Obj = found.get("spec") or {}
    holder = str(spec.get("holderIdentity") or "")
    todo = f"kubectl logs -n {SYSTEM} deploy/{NAME}"
    if not holder:
        return [wrong("leader", "no replica holds the Lease", todo)]
    try:
        renewed = datetime.fromisoformat(str(spec.get("renewTime")))
    except ValueError:
        return [wrong("leader", f"{holder}, at no readable time", todo)]
    age_s = (datetime.now(UTC) - renewed).total_seconds()
    limit_s = float(spec.get("leaseDurationSeconds") or 15)
    if age_s > 2 * limit_s:
        return [wrong("leader", f"{holder} has not renewed the Lease for {age_s:.0f} s", todo)]
    return [well("leader", holder)]


async def webhooks(api: Api) -> list[Check]:
    """Whether the WebhookConfigurations are there, trusted and binding."""
    days = float("inf")
    for resource in CONFIGURATIONS:
        found = await api.get(resource.path(None, CONFIGURATION_NAME))
        if found is None:
            return [wrong("webhooks", f"no {resource.plural} named {CONFIGURATION_NAME}", APPLY)]
        for hook in found.get("webhooks") or []:
            name, left = hook["name"], _days_left(hook)
            if left is None:
                todo = f"the controller writes it when it is ready: kubectl logs -n {SYSTEM} deploy/{NAME}"
                return [wrong("webhooks", f"{name} has no usable caBundle", todo)]
            if hook.get("failurePolicy") != FAIL:
                todo = "see `other KServe` and `controller says`: the controller stands aside"
                return [warning("webhooks", f"{name} is not binding (failurePolicy Ignore)", todo)]
            days = min(days, left)
    if days < SOON_DAYS:
        todo = f"certificates are renewed long before: kubectl logs -n {SYSTEM} deploy/{NAME}"
        return [warning("webhooks", f"trusted for {days:.1f} more days only", todo)]
    return [well("webhooks", f"trusted for {days:.0f} more days")]


def _days_left(hook: Obj) -> float | None:
    """Until the last authority of the bundle ends; None where there is none."""
    try:
        bundle = base64.b64decode((hook.get("clientConfig") or {}).get("caBundle") or "")
        certs = x509.load_pem_x509_certificates(bundle)
    except (ValueError, binascii.Error):
        return None
    end = max(item.not_valid_after_utc for item in certs)
    return (end - datetime.now(UTC)).total_seconds() / 86400


async def admission(api: Api) -> list[Check]:
    """One InferenceService as a dry run."""
    try:
        await api.request("POST", INFERENCE_SERVICES.path("default"), TRIAL, JSON, dryRun="All")
    except ApiFailureError as error:
        if error.code == 409:
            return [well("admission", "webhooks answer")]
        todo = f"can the API server reach the Service wakeful-webhook? kubectl get endpointslices -n {SYSTEM}"
        if error.code in (403, 404):
            todo = "ask as a user who may create InferenceServices" if error.code == 403 else APPLY
        return [wrong("admission", f"an InferenceService is not accepted: {error}", todo)]
    return [well("admission", "webhooks answer")]
