"""The names KServe's users rely on: annotation and label keys, component names, names of child objects.

Used by every pure module of the controller and by its webhooks. Only constants and name arithmetic. Source: KServe
behaviour page section 1.10. Invariant: a child's name is injective in (InferenceService, component).
"""

from __future__ import annotations

GROUP = "serving.kserve.io"
API_VERSION = f"{GROUP}/v1beta1"
KIND = "InferenceService"

PREDICTOR = "predictor"
TRANSFORMER = "transformer"
EXPLAINER = "explainer"
COMPONENTS = (PREDICTOR, TRANSFORMER, EXPLAINER)
CONDITION_PREFIX = {PREDICTOR: "Predictor", TRANSFORMER: "Transformer", EXPLAINER: "Explainer"}

MAIN_CONTAINER = "kserve-container"
TRANSFORMER_CONTAINER = "transformer-container"
WORKER_CONTAINER = "worker-container"
STORAGE_INITIALIZER = "storage-initializer"
MODEL_MOUNT = "/mnt/models"

DEPLOYMENT_MODE = f"{GROUP}/deploymentMode"
AUTOSCALER_CLASS = f"{GROUP}/autoscalerClass"
TAG_ROUTING = f"{GROUP}/enable-tag-routing"
STOP = f"{GROUP}/stop"
DISABLE_AUTO_UPDATE = f"{GROUP}/disable-auto-update"
SERVER_TYPE = f"{GROUP}/server-type"
STORAGE_SECRET_NAME = f"{GROUP}/storageSecretName"
STORAGE_INITIALIZER_UID = f"{GROUP}/storage-initializer-uid"
GKE_ACCELERATOR = f"{GROUP}/gke-accelerator"
METRIC_AGGREGATION = f"{GROUP}/enable-metric-aggregation"
STORAGE_READONLY = "storage.kserve.io/readonly"

MODEL_SERVER = "serving.wakeful.dev/model-server"
"""On an InferenceService, component or runtime: its image is built on wakeful.serving, though its name does not say so."""
STORAGE_SECRET = "storage-config"
LOGGER_VARIABLE = "WAKEFUL_LOGGER_"
PREDICTOR_PROTOCOL_VARIABLE = "WAKEFUL_PREDICTOR_PROTOCOL"

INTERNAL = f"internal.{GROUP}/"
SOURCE_URI = INTERNAL + "storage-initializer-sourceuri"
STORAGE_SPEC = INTERNAL + "storage-spec"
STORAGE_SPEC_KEY = INTERNAL + "storage-spec-key"
STORAGE_SPEC_PARAM = INTERNAL + "storage-spec-param"
AGENT_TRIGGERS = (INTERNAL + "agent", INTERNAL + "logger", INTERNAL + "batcher")

ISVC_LABEL = f"{GROUP}/inferenceservice"
COMPONENT_LABEL = "component"
VISIBILITY_LABEL = "networking.knative.dev/visibility"
REVISION_LABEL = "serving.knative.dev/revision"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

KNATIVE = "Knative"
STANDARD = "Standard"
MODEL_MESH = "ModelMesh"
LEGACY_MODES = {"Serverless": KNATIVE, "RawDeployment": STANDARD}
MODES = (KNATIVE, STANDARD, MODEL_MESH)

PROTOCOLS = ("v1", "v2", "grpc-v1", "grpc-v2")
"""Lowest first: the order in which KServe prefers protocols."""

LABEL_LIMIT = 63
CLUSTER_DOMAIN = "svc.cluster.local"


def component_name(isvc: str, component: str, variant: str = "") -> str:
    """The Knative Service of a component: ``{isvc}-predictor``, or ``{isvc}-{variant}-predictor``."""
    return f"{isvc}-{variant}-{component}" if variant else f"{isvc}-{component}"


def normalise_mode(mode: str) -> str:
    """The present spelling of a deployment mode (``Serverless`` and ``RawDeployment`` are old ones)."""
    return LEGACY_MODES.get(mode, mode)


def is_stopped(annotations: dict[str, str]) -> bool:
    """Whether the stop annotation says true, in any case."""
    return str(annotations.get(STOP, "")).lower() == "true"
