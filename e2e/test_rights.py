"""What the controller may do, asked of a real API server: all that the document says, and none of the rest.

The embedded API server stores RBAC and lets every token do everything (decision 0012), so this is for the cluster only.
"""

from __future__ import annotations

import pytest
import yaml

from e2e.homes.port import Access, Home
from e2e.kube import Kube

ACCOUNT = "system:serviceaccount:wakeful-system:wakeful-controller"
FORBIDDEN = (
    ("get", "secrets", "", ""),
    ("list", "secrets", "", "wakeful-system"),
    ("get", "secrets/wakeful-webhook-cert", "", "wakeful-system"),
    ("create", "secrets", "", "wakeful-system"),
    ("create", "pods", "", "default"),
    ("delete", "pods", "", "default"),
    ("create", "pods/exec", "", "default"),
    ("get", "configmaps", "", "wakeful-system"),
    ("get", "configmaps", "", "default"),
    ("update", "inferenceservices", "serving.kserve.io", "default"),
    ("delete", "inferenceservices", "serving.kserve.io", "default"),
    ("delete", "clusterservingruntimes", "serving.kserve.io", ""),
    ("create", "leases", "coordination.k8s.io", "wakeful-system"),
    ("patch", "deployments", "apps", "wakeful-system"),
    ("create", "clusterroles", "rbac.authorization.k8s.io", ""),
    ("bind", "clusterroles", "rbac.authorization.k8s.io", ""),
    ("impersonate", "users", "", ""),
    ("create", "serviceaccounts/token", "", "wakeful-system"),
    ("update", "customresourcedefinitions", "apiextensions.k8s.io", ""),
    ("create", "mutatingwebhookconfigurations", "admissionregistration.k8s.io", ""),
)


@pytest.fixture(autouse=True)
def only_a_cluster(home: tuple[Home, Access]) -> None:
    if home[0].name == "standalone":
        pytest.skip("one machine has one user and no RBAC (decision 0012)")


def may(kube: Kube, verb: str, resource: str, group: str, namespace: str) -> bool:
    """Whether the controller's account may; ``resource`` as ``plural``, ``plural/name`` or ``plural/subresource``."""
    plural, _, rest = resource.partition("/")
    attributes = {"verb": verb, "resource": plural, "group": group, "namespace": namespace}
    attributes["subresource" if rest in ("status", "exec", "token", "finalizers") else "name"] = rest
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": ACCOUNT, "groups": ["system:serviceaccounts"], "resourceAttributes": attributes},
    }
    text = kube.kubectl("create", "-f", "-", "-o", "yaml", text=yaml.safe_dump(review))
    return bool(yaml.safe_load(text)["status"]["allowed"])


@pytest.mark.parametrize("question", FORBIDDEN, ids=lambda item: " ".join(part for part in item if part))
def test_it_may_not(kube: Kube, question: tuple[str, str, str, str]) -> None:
    assert not may(kube, *question)


def test_its_list_of_rights_is_the_one_of_the_manifests(kube: Kube) -> None:
    """``kubectl auth can-i --list`` shows what config/rbac grants, and else only what every account has."""
    said = kube.kubectl("auth", "can-i", "--list", f"--as={ACCOUNT}", "-n", "wakeful-system")
    lines = [line.split("[") for line in said.splitlines()[1:] if line and not line.startswith(" ")]
    shown = {line[0].strip() for line in lines}
    everybody = {name for name in shown if name.startswith("self") or not name}
    expected = {
        "inferenceservices.serving.kserve.io",
        "servingruntimes.serving.kserve.io",
        "clusterservingruntimes.serving.kserve.io",
        "inferenceservices.serving.kserve.io/status",
        "inferenceservices.serving.kserve.io/finalizers",
        "services.serving.knative.dev",
        "ingresses.networking.internal.knative.dev",
        "services",
        "pods",
        "serviceaccounts",
        "events",
        "configmaps",
        "leases.coordination.k8s.io",
        "deployments.apps/status",
        "customresourcedefinitions.apiextensions.k8s.io",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io",
        "validatingwebhookconfigurations.admissionregistration.k8s.io",
    }
    assert shown - everybody == expected, said


def test_every_pod_of_the_installation_passes_pod_security_restricted(kube: Kube) -> None:
    """The namespace enforces it; a dry run of the label tells what would not pass."""
    namespace = kube.get("Namespace", "", "wakeful-system")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    label = "pod-security.kubernetes.io/enforce=restricted"
    said = kube.kubectl("label", "--dry-run=server", "--overwrite", "namespace", "wakeful-system", label)
    assert "violate" not in said, said
