"""One review of a Service, as the API server asks for it."""

import copy
from typing import Any

import pytest

from standalone.apiserver.ports import Denied, Review
from standalone.knative.admission import REVIEWERS, Admission

GROUP = "serving.knative.dev"
SCALE = "autoscaling.knative.dev"
HEAD = 'admission webhook "validation.webhook.serving.knative.dev" denied the request: validation failed: '


def service(
    container: dict[str, Any] | None = None, notes: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    base = {"image": "wakeful/echo:1"}
    template = {
        "metadata": {"annotations": notes or {}},
        "spec": {"containers": [{**base, **(container or {})}], **spec},
    }
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Service",
        "metadata": {"name": "svc", "namespace": "ns"},
        "spec": {"template": template},
    }


def admit(
    obj: dict[str, Any],
    old: dict[str, Any] | None = None,
    user: str = "ann",
    admission: Admission | None = None,
) -> dict[str, Any]:
    new = copy.deepcopy(obj)
    review = Review("UPDATE" if old else "CREATE", new, old, user)
    kind = obj["kind"].lower()
    group = GROUP if obj["apiVersion"].startswith(GROUP) else ""
    reviewer = getattr(admission, kind) if admission else REVIEWERS[(group, obj["kind"])]
    reviewer(review)
    return new


def refusal(obj: dict[str, Any], old: dict[str, Any] | None = None) -> str:
    with pytest.raises(Denied) as caught:
        admit(obj, old)
    assert caught.value.message.startswith(HEAD)
    return caught.value.message.removeprefix(HEAD)
