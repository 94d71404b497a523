"""What a user of KServe's SDK does: create, wait, get, patch, delete an InferenceService. Run by hack/env kserve.

Arguments: NAMESPACE STORAGE_URI. Prints one JSON line with what it saw; exit status 0 only when all of it worked.
"""

import json
import sys
import time

from kserve import (
    KServeClient,
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1ModelFormat,
    V1beta1ModelSpec,
    V1beta1PredictorSpec,
    constants,
)
from kubernetes import client

NAMESPACE, STORAGE_URI = sys.argv[1:]
NAME = "from-sdk"
LIMIT_S = 90

resources = client.V1ResourceRequirements(
    requests={"cpu": "20m", "memory": "64Mi"}, limits={"cpu": "1", "memory": "512Mi"}
)
model = V1beta1ModelSpec(
    model_format=V1beta1ModelFormat(name="sklearn"), storage_uri=STORAGE_URI, resources=resources
)
isvc = V1beta1InferenceService(
    api_version=constants.KSERVE_V1BETA1,
    kind=constants.KSERVE_KIND_INFERENCESERVICE,
    metadata=client.V1ObjectMeta(name=NAME, namespace=NAMESPACE),
    spec=V1beta1InferenceServiceSpec(predictor=V1beta1PredictorSpec(min_replicas=1, model=model)),
)
sdk = KServeClient()
created = sdk.create(isvc)
sdk.wait_isvc_ready(NAME, namespace=NAMESPACE, timeout_seconds=LIMIT_S, polling_interval=1)
found = sdk.get(NAME, namespace=NAMESPACE)
isvc.spec.predictor.max_replicas = 2
isvc.metadata.resource_version = None
patched = sdk.patch(NAME, isvc, namespace=NAMESPACE)
sdk.wait_isvc_ready(NAME, namespace=NAMESPACE, timeout_seconds=LIMIT_S, polling_interval=1)
is_ready = sdk.is_isvc_ready(NAME, namespace=NAMESPACE)
sdk.delete(NAME, namespace=NAMESPACE)
deadline = time.monotonic() + LIMIT_S
while any(item["metadata"]["name"] == NAME for item in sdk.get(namespace=NAMESPACE)["items"]):
    if time.monotonic() > deadline:
        sys.exit(f"{NAME} is still there {LIMIT_S} s after its deletion")
    time.sleep(0.5)
print(
    json.dumps(
        {
            "created": created["metadata"]["name"],
            "url": found["status"]["url"],
            "ready": is_ready,
            "maxReplicas": patched["spec"]["predictor"]["maxReplicas"],
        }
    )
)
