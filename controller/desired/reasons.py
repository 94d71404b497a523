"""Why something is as it is: the closed set of reasons the controller writes, and the error that carries one.

Used by every pure module here; conditions, Events, ``lastFailureInfo`` and logs all take their reason from this set.
Invariant: a reason is one CamelCase word, except the three KServe clients know with spaces.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """The reasons; those of Knative's own conditions are passed through as they are."""

    # runtime selection and composition (also lastFailureInfo.reason)
    RUNTIME_DISABLED = "RuntimeDisabled"
    NO_SUPPORTING_RUNTIME = "NoSupportingRuntime"
    RUNTIME_NOT_RECOGNIZED = "RuntimeNotRecognized"
    INVALID_PREDICTOR_SPEC = "InvalidPredictorSpec"
    STORAGE_NOT_SUPPORTED = "StorageNotSupported"
    MODEL_LOAD_FAILED = "ModelLoadFailed"
    CODE_BEARING_FORMAT = "CodeBearingFormat"
    NOT_SUPPORTED_YET = "NotSupportedYet"
    # reconciling
    RECONCILE_FAILED = "ReconcileFailed"
    NOT_OWNED = "NotOwned"
    INVALID_CONFIGURATION = "InvalidConfiguration"
    KNATIVE_NOT_INSTALLED = "KnativeNotInstalled"
    SERVICE_NOT_OBSERVED = "ServiceNotObserved"
    OUT_OF_DATE = "OutOfDate"
    POD_NOT_READY = "PodNotReady"
    REVISION_FAILED = "RevisionFailed"
    STOPPED = "Stopped"
    # ingress; the wording with spaces is KServe's
    PREDICTOR_NOT_READY = "Predictor ingress not created"
    TRANSFORMER_NOT_READY = "Transformer ingress not created"
    EXPLAINER_NOT_READY = "Explainer ingress not created"
    INGRESS_NOT_OBSERVED = "IngressNotObserved"
    INGRESS_NOT_READY = "IngressNotReady"
    # what one reconcile did (logged, counted)
    UP_TO_DATE = "UpToDate"
    CHANGED = "Changed"
    AUTO_UPDATE_DISABLED = "AutoUpdateDisabled"
    DELETED = "Deleted"


class SpecError(Exception):
    """What the user asked for cannot be built; the text is one sentence. Shown in the component's condition."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
