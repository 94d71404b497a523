"""A user's own containers: a Model on Wakeful's base class, and a transformer before a predictor."""

from __future__ import annotations

import pytest

from e2e import iris, manifests
from e2e.dumps import Dumps
from e2e.homes.port import Access, Home
from e2e.kube import Kube
from e2e.test_iris import names_of
from e2e.web import Ingress

OWN_IMAGE = "dev.local/e2e/own-model:1"


def test_a_custom_model(kube: Kube, ingress: Ingress, namespace: str, access: Access) -> None:
    container = manifests.container(access.python_image, "doubles", FACTOR="3")
    kube.apply(
        manifests.inference_service(namespace, "doubles", {"minReplicas": 1, "containers": [container]})
    )
    url = kube.until_ready("InferenceService", namespace, "doubles")["status"]["url"]
    answer = ingress.call(url + "/v1/models/doubles:predict", {"instances": [[1.0, 2.0]]})
    assert (answer.status, answer.json()) == (200, {"predictions": [[3.0, 6.0]]})
    kube.kubectl("delete", "isvc", "doubles", "-n", namespace)


def test_a_custom_model_in_an_image_of_its_own(
    kube: Kube, ingress: Ingress, namespace: str, home: tuple[Home, Access]
) -> None:
    """No command, no program text: the image alone says what runs."""
    if not home[0].can_make_images:
        pytest.skip("images of a cluster given by --kubeconfig are not ours to load")
    home[0].provide_image(OWN_IMAGE, manifests.PROGRAMS / "doubles.py")
    container = {
        "name": "kserve-container",
        "image": OWN_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "FACTOR", "value": "5"}],
        "resources": manifests.SMALL,
        "securityContext": manifests.RESTRICTED,
    }
    kube.apply(manifests.inference_service(namespace, "own", {"minReplicas": 1, "containers": [container]}))
    url = kube.until_ready("InferenceService", namespace, "own")["status"]["url"]
    answer = ingress.call(url + "/v1/models/doubles:predict", {"instances": [[1.0, 2.0]]})
    assert (answer.status, answer.json()) == (200, {"predictions": [[5.0, 10.0]]})
    kube.kubectl("delete", "isvc", "own", "-n", namespace)


def test_a_transformer_before_a_predictor(
    kube: Kube,
    ingress: Ingress,
    namespace: str,
    home: tuple[Home, Access],
    trained: iris.Trained,
    dumps: Dumps,
) -> None:
    access = home[1]
    iris.fill_claim(kube, home, namespace, trained)
    model = {
        "modelFormat": {"name": "sklearn"},
        "storageUri": "pvc://models/iris-v1",
        "resources": manifests.SMALL,
    }
    transformer = {"minReplicas": 1, "containers": [manifests.container(access.python_image, "transforms")]}
    kube.apply(
        manifests.inference_service(
            namespace, "iris", {"minReplicas": 1, "model": model}, transformer=transformer
        )
    )
    isvc = kube.until_ready("InferenceService", namespace, "iris")
    rows = [[number - 1 for number in row] for row in trained.rows]
    answer = ingress.call(isvc["status"]["url"] + "/v1/models/iris:predict", {"instances": rows})
    assert (answer.status, answer.json()) == (200, {"transformed": trained.classes})
    direct = ingress.call(
        isvc["status"]["components"]["predictor"]["url"] + "/v1/models/iris:predict",
        {"instances": trained.rows},
    )
    assert (direct.status, direct.json()) == (200, {"predictions": trained.classes})
    names = names_of(isvc, namespace)
    dumps.add("transformer and predictor", isvc["status"], names)
    dumps.add("Ingress before a transformer", kube.get("Ingress", namespace, "iris")["spec"], names)
    kube.kubectl("delete", "isvc", "iris", "-n", namespace)
