"""The CustomResourceDefinitions of Knative Serving, as data: the one source of ``manifests/serving-crds.yaml``.

Run ``python -m standalone.knative.crds`` after a change; a test fails while the file is stale. Fields are those
Knative accepts; fields behind a feature flag keep whatever is in them (admission decides about them); all others are
unknown to the API server, which says so at apply.

Invariant: every schema is structural, so that pruning and strict validation work.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

Schema = dict[str, Any]
FILE = Path(__file__).parent / "manifests" / "serving-crds.yaml"

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "format": "int32"}
BIG: Schema = {"type": "integer", "format": "int64"}
FLAG: Schema = {"type": "boolean"}
INT_OR_TEXT: Schema = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
KEPT: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
"""Behind a feature flag, or of no interest to the schema."""


def fields(*required: str, **properties: Schema) -> Schema:
    """An object with ``properties``; a trailing underscore avoids Python's keywords."""
    schema: Schema = {"type": "object", "properties": {k.rstrip("_"): v for k, v in properties.items()}}
    return {**schema, "required": list(required)} if required else schema


def many(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def table(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


TEXTS = table(TEXT)
KEY = fields("key", key=TEXT, name=TEXT, optional=FLAG)
FIELD_REF = {**KEPT, "description": "Behind the feature kubernetes.podspec-fieldref."}
ENV = fields(
    "name",
    name=TEXT,
    value=TEXT,
    valueFrom=fields(
        configMapKeyRef=KEY, secretKeyRef=KEY, fieldRef=FIELD_REF, resourceFieldRef=FIELD_REF, fileKeyRef=KEPT
    ),
)
SOURCE = fields(name=TEXT, optional=FLAG)
ENV_FROM = fields(prefix=TEXT, configMapRef=SOURCE, secretRef=SOURCE)
HEADER = fields("name", "value", name=TEXT, value=TEXT)
PROBE = fields(
    exec=fields(command=many(TEXT)),
    grpc=fields(port=COUNT, service=TEXT),
    httpGet=fields(host=TEXT, httpHeaders=many(HEADER), path=TEXT, port=INT_OR_TEXT, scheme=TEXT),
    tcpSocket=fields(host=TEXT, port=INT_OR_TEXT),
    failureThreshold=COUNT,
    initialDelaySeconds=COUNT,
    periodSeconds=COUNT,
    successThreshold=COUNT,
    timeoutSeconds=COUNT,
    terminationGracePeriodSeconds=BIG,
)
MOUNT = fields(
    "mountPath", "name", name=TEXT, mountPath=TEXT, readOnly=FLAG, subPath=TEXT, mountPropagation=TEXT
)
CONTAINER = fields(
    name=TEXT,
    image=TEXT,
    imagePullPolicy=TEXT,
    command=many(TEXT),
    args=many(TEXT),
    workingDir=TEXT,
    env=many(ENV),
    envFrom=many(ENV_FROM),
    ports=many(fields(name=TEXT, containerPort=COUNT, protocol=TEXT, hostPort=COUNT, hostIP=TEXT)),
    resources=fields(limits=table(INT_OR_TEXT), requests=table(INT_OR_TEXT), claims=many(KEPT)),
    volumeMounts=many(MOUNT),
    livenessProbe=PROBE,
    readinessProbe=PROBE,
    startupProbe=PROBE,
    securityContext=KEPT,
    terminationMessagePath=TEXT,
    terminationMessagePolicy=TEXT,
)
ITEM = fields("key", "path", key=TEXT, path=TEXT, mode=COUNT)
CONFIG_VOLUME = fields(name=TEXT, optional=FLAG, defaultMode=COUNT, items=many(ITEM))
VOLUME = fields(
    "name",
    name=TEXT,
    configMap=CONFIG_VOLUME,
    secret=fields(secretName=TEXT, optional=FLAG, defaultMode=COUNT, items=many(ITEM)),
    projected=fields(
        defaultMode=COUNT,
        sources=many(
            fields(
                configMap=CONFIG_VOLUME,
                secret=fields(name=TEXT, optional=FLAG, items=many(ITEM)),
                serviceAccountToken=fields("path", audience=TEXT, expirationSeconds=BIG, path=TEXT),
                downwardAPI=KEPT,
            )
        ),
    ),
    emptyDir={**KEPT, "description": "Behind the feature kubernetes.podspec-volumes-emptydir (enabled)."},
    persistentVolumeClaim={**KEPT, "description": "Behind kubernetes.podspec-persistent-volume-claim."},
    hostPath={**KEPT, "description": "Behind kubernetes.podspec-volumes-hostpath."},
    csi={**KEPT, "description": "Behind kubernetes.podspec-volumes-csi."},
    ephemeral={**KEPT, "description": "Behind kubernetes.podspec-volumes-ephemeral."},
    image={**KEPT, "description": "Behind kubernetes.podspec-volumes-image."},
)
GATED_POD = {
    "affinity": KEPT,
    "dnsConfig": KEPT,
    "dnsPolicy": TEXT,
    "hostAliases": many(KEPT),
    "hostIPC": FLAG,
    "hostNetwork": FLAG,
    "hostPID": FLAG,
    "initContainers": many(KEPT),
    "nodeSelector": {**KEPT, "x-kubernetes-map-type": "atomic"},
    "priorityClassName": TEXT,
    "runtimeClassName": TEXT,
    "schedulerName": TEXT,
    "securityContext": KEPT,
    "shareProcessNamespace": FLAG,
    "tolerations": many(KEPT),
    "topologySpreadConstraints": many(KEPT),
}
REVISION_SPEC = fields(
    "containers",
    containers=many(CONTAINER),
    volumes=many(VOLUME),
    serviceAccountName=TEXT,
    imagePullSecrets=many(fields(name=TEXT)),
    enableServiceLinks=FLAG,
    automountServiceAccountToken=FLAG,
    containerConcurrency=BIG,
    timeoutSeconds=BIG,
    responseStartTimeoutSeconds=BIG,
    idleTimeoutSeconds=BIG,
    **GATED_POD,
)
TEMPLATE = fields(
    metadata=fields(
        name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS, finalizers=many(TEXT), generateName=TEXT
    )
    | {"x-kubernetes-preserve-unknown-fields": True},
    spec=REVISION_SPEC,
)
TRAFFIC = many(
    fields(configurationName=TEXT, latestRevision=FLAG, percent=BIG, revisionName=TEXT, tag=TEXT, url=TEXT)
)
CONDITIONS = many(
    fields(
        "status",
        "type",
        type=TEXT,
        status=TEXT,
        reason=TEXT,
        message=TEXT,
        severity=TEXT,
        lastTransitionTime=TEXT,
    )
)
ADDRESS = fields(url=TEXT, name=TEXT, CACerts=TEXT, audience=TEXT)
SHARED = {"annotations": TEXTS, "conditions": CONDITIONS, "observedGeneration": BIG}
LATEST = {"latestCreatedRevisionName": TEXT, "latestReadyRevisionName": TEXT}
ROUTED = {"url": TEXT, "address": ADDRESS, "traffic": TRAFFIC}
DIGESTS = many(fields(name=TEXT, imageDigest=TEXT))
REFERENCE = fields(
    "kind", "name", apiVersion=TEXT, group=TEXT, kind=TEXT, name=TEXT, namespace=TEXT, address=TEXT
)
BALANCER = fields(ingress=many(fields(domain=TEXT, domainInternal=TEXT, ip=TEXT, meshOnly=FLAG)))
BACKEND_SPLIT = fields(
    "serviceName",
    serviceName=TEXT,
    serviceNamespace=TEXT,
    servicePort=INT_OR_TEXT,
    percent=BIG,
    appendHeaders=TEXTS,
)
INGRESS_SPEC = fields(
    httpOption=TEXT,
    rules=many(
        fields(
            hosts=many(TEXT),
            visibility=TEXT,
            http=fields(
                "paths",
                paths=many(
                    fields(
                        "splits",
                        path=TEXT,
                        rewriteHost=TEXT,
                        headers=table(fields("exact", exact=TEXT)),
                        appendHeaders=TEXTS,
                        splits=many(BACKEND_SPLIT),
                    )
                ),
            ),
        )
    ),
    tls=many(KEPT),
)
READY = ".status.conditions[?(@.type=='Ready')]"


def column(name: str, path: str, type_: str = "string") -> Schema:
    return {"name": name, "type": type_, "jsonPath": path}


STATE = [column("Ready", READY + ".status"), column("Reason", READY + ".reason")]
NAMES = [
    column("LatestCreated", ".status.latestCreatedRevisionName"),
    column("LatestReady", ".status.latestReadyRevisionName"),
]
URL = [column("URL", ".status.url")]


def definition(
    kind: str, short: list[str], spec: Schema, status: Schema, columns: list[Schema], **more: Any
) -> Schema:
    """One CRD. ``more``: group, version, plural and categories where they differ from Serving's."""
    group = more.get("group", "serving.knative.dev")
    plural = more.get("plural", kind.lower() + "s")
    categories = more.get("categories", ["all", "knative", "serving"])
    root = fields(apiVersion=TEXT, kind=TEXT, metadata={"type": "object"}, spec=spec, status=status)
    version = {
        "name": more.get("version", "v1"),
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": root},
    }
    names = {
        "kind": kind,
        "listKind": kind + "List",
        "plural": plural,
        "singular": kind.lower(),
        "shortNames": short,
        "categories": categories,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "labels": {"app.kubernetes.io/name": "knative-serving"}},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def definitions() -> list[Schema]:
    """All CRDs of Serving that this platform uses."""
    return [*_public(), *_internal()]


def _public() -> list[Schema]:
    label = ".metadata.labels['serving\\.knative\\.dev/"
    revision_status = fields(
        **SHARED,
        actualReplicas=COUNT,
        desiredReplicas=COUNT,
        containerStatuses=DIGESTS,
        initContainerStatuses=DIGESTS,
        logUrl=TEXT,
    )
    revision_columns = [
        column("Config Name", label + "configuration']"),
        column("Generation", label + "configurationGeneration']"),
        *STATE,
        column("Actual Replicas", ".status.actualReplicas", "integer"),
        column("Desired Replicas", ".status.desiredReplicas", "integer"),
    ]
    service, configuration = fields(template=TEMPLATE, traffic=TRAFFIC), fields(template=TEMPLATE)
    routed, built = fields(**SHARED, **ROUTED), fields(**SHARED, **LATEST)
    return [
        definition(
            "Service",
            ["kservice", "ksvc"],
            service,
            fields(**SHARED, **LATEST, **ROUTED),
            [*URL, *NAMES, *STATE],
        ),
        definition("Configuration", ["config", "cfg"], configuration, built, [*NAMES, *STATE]),
        definition("Revision", ["rev"], REVISION_SPEC, revision_status, revision_columns),
        definition("Route", ["rt"], fields(traffic=TRAFFIC), routed, [*URL, *STATE]),
        definition(
            "DomainMapping",
            ["dm"],
            fields("ref", ref=REFERENCE, tls=fields("secretName", secretName=TEXT)),
            fields(**SHARED, url=TEXT, address=ADDRESS),
            [*URL, *STATE],
            version="v1beta1",
        ),
    ]


def _internal() -> list[Schema]:
    autoscaler = fields(
        "scaleTargetRef",
        containerConcurrency=BIG,
        protocolType=TEXT,
        reachability=TEXT,
        scaleTargetRef=fields(apiVersion=TEXT, kind=TEXT, name=TEXT),
    )
    autoscaler_status = fields(
        **SHARED, actualScale=COUNT, desiredScale=COUNT, metricsServiceName=TEXT, serviceName=TEXT
    )
    scales = [
        column("DesiredScale", ".status.desiredScale", "integer"),
        column("ActualScale", ".status.actualScale", "integer"),
    ]
    return [
        definition(
            "PodAutoscaler",
            ["kpa", "pa"],
            autoscaler,
            autoscaler_status,
            [*scales, *STATE],
            group="autoscaling.internal.knative.dev",
            version="v1alpha1",
            categories=["knative-internal", "autoscaling"],
        ),
        definition(
            "Ingress",
            ["kingress", "king"],
            INGRESS_SPEC,
            fields(**SHARED, publicLoadBalancer=BALANCER, privateLoadBalancer=BALANCER),
            STATE,
            group="networking.internal.knative.dev",
            version="v1alpha1",
            plural="ingresses",
            categories=["knative-internal", "networking"],
        ),
    ]


class _Plain(yaml.SafeDumper):
    """Writes shared parts out in full: an anchor is hard to read in ``kubectl explain``'s source."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render() -> str:
    """The manifest file."""
    head = "# Made by `python -m standalone.knative.crds`; do not edit.\n"
    return head + yaml.dump_all(definitions(), Dumper=_Plain, sort_keys=False, width=110)


if __name__ == "__main__":
    FILE.write_text(render())
    sys.stderr.write(f"wrote {FILE}\n")
